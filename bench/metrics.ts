/**
 * What measuring costs: writing to a bound series, binding one, a scrape, a log line.
 * Run: bun bench/metrics.ts
 */
import { systemClock } from "../src/clock.ts"
import { createMemoryStore } from "../src/state/store.ts"
import { createLogger } from "../src/telemetry/logger.ts"
import { MetricStore } from "../src/telemetry/store.ts"
import { renderMetrics } from "../test/support/render-metrics.ts"

const SERIES_PER_FAMILY = 25_000
const ROUNDS = 7

const store = new MetricStore({ maxSeries: SERIES_PER_FAMILY })
const counter = store.counter("gateway.errors", { code: "internal_error" })
const histogram = store.histogram("gateway.hook.duration", {
  plugin: "a",
  hook: "onRequest",
  version: "1.0.0",
  role: "stable",
})
const log = createLogger({ level: "info", destination: () => {} })
const state = createMemoryStore({ clock: systemClock })

report("counter.add", 10_000_000, () => counter.add())
report("histogram.record, 30 µs", 10_000_000, () => histogram.record(0.000_03))
report("histogram.record, 100 s", 10_000_000, () => histogram.record(100))
report("bind a counter, 2 labels", 1_000_000, () =>
  store.counter("gateway.attempts", { provider: "groq", outcome: "ok" }),
)
report("bind a histogram, 3 labels", 1_000_000, () =>
  store.histogram("http.server.request.duration", {
    "http.request.method": "POST",
    "http.route": "/v1/chat/completions",
    "http.response.status_code": 200,
  }),
)
report("log line below the level", 10_000_000, () => log.debug("hook ran", { plugin: "a" }))
report("log line, 3 fields", 50_000, () =>
  log.info("provider switched", { requestId: "0190f3c2", from: "groq", to: "mistral" }),
)
report("state.increment, one key", 1_000_000, () => state.increment("ip:127.0.0.1", { ttlMs: 60_000 }))

for (let index = 1; index < SERIES_PER_FAMILY; index++) {
  store.counter("gateway.errors", { code: `code-${index}` }).add()
  store
    .histogram("gateway.hook.duration", {
      plugin: `plugin-${index}`,
      hook: "onRequest",
      version: "1.0.0",
      role: "stable",
    })
    .record(0.001)
}
const sizeMb = Buffer.byteLength(renderMetrics(store).body) / 1e6
report(`scrape: ${SERIES_PER_FAMILY} counters and as many histograms, ${sizeMb.toFixed(0)} MB`, 1, () =>
  Buffer.byteLength(renderMetrics(store).body),
)

/** The median of several rounds, in nanoseconds for one run. */
function report(what: string, runs: number, run: () => unknown): void {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const startMs = performance.now()
    for (let index = 0; index < runs; index++) run()
    return ((performance.now() - startMs) / runs) * 1e6
  }).sort((a, b) => a - b)
  const medianNs = rounds[ROUNDS >> 1] ?? Number.NaN
  const figure = medianNs < 1e6 ? `${medianNs.toFixed(1)} ns` : `${(medianNs / 1e6).toFixed(1)} ms`
  console.log(`${what.padEnd(64)} ${figure.padStart(12)}`)
}
