import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { METRICS, type MetricName, type MetricSpec } from "../../src/telemetry/metrics.ts"
import { MetricStore } from "../../src/telemetry/store.ts"
import { renderMetrics } from "../support/render-metrics.ts"
import { type ExpositionFormat, parseExposition } from "./exposition-parser.ts"

const OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
const ACCEPT: Record<ExpositionFormat, string> = { text: "text/plain", openmetrics: OPEN_METRICS }
const FORMATS: readonly ExpositionFormat[] = ["text", "openmetrics"]
const AWKWARD = 'quote " backslash \\ both \\" newline \n, comma {brace} é 漢 🚀'

/** Every metric with two series, one of them with awkward labels. */
function fullStore(awkward = AWKWARD): MetricStore {
  const store = new MetricStore()
  for (const [name, { kind, labels }] of Object.entries(METRICS) as [MetricName, MetricSpec][]) {
    for (const value of ["plain", awkward]) {
      // The table's types relate a name to its labels; a loop over all names cannot.
      const values = Object.fromEntries(labels.map((label) => [label, value])) as never
      if (kind === "counter") store.counter(name as "gateway.errors", values).add(2)
      else if (kind === "gauge") store.gauge(name as "gateway.streams.active", values).set(-1.5)
      else
        for (const amount of [0.0001, 0.3, 1e9])
          store.histogram(name as "gateway.overhead", values).record(amount)
    }
  }
  return store
}

describe.each(FORMATS)("%s", (format) => {
  const render = (store: MetricStore) => parseExposition(renderMetrics(store, ACCEPT[format]).body, format)

  test("a strict reader finds every metric, with its labels and values", () => {
    const families = render(fullStore())
    expect(families.size).toBe(Object.keys(METRICS).length)
    const attempts = families.get(format === "text" ? "leapgate_attempts_total" : "leapgate_attempts")
    expect(attempts).toMatchObject({ type: "counter", help: METRICS["gateway.attempts"].help })
    expect(attempts?.samples).toEqual([
      { name: "leapgate_attempts_total", labels: { provider: "plain", outcome: "plain" }, value: 2 },
      {
        name: "leapgate_attempts_total",
        labels: { provider: AWKWARD.replace("\n", "\ufffd"), outcome: AWKWARD.replace("\n", "\ufffd") },
        value: 2,
      },
    ])
    expect(families.get("leapgate_streams_active")?.samples).toEqual([
      { name: "leapgate_streams_active", labels: {}, value: -1.5 },
    ])
  })

  test("a histogram's buckets are cumulated", () => {
    const store = new MetricStore()
    const labels = { "gen_ai.token.type": "input", "gen_ai.provider.name": "p", "gen_ai.request.model": "m" }
    const usage = store.histogram("gen_ai.client.token.usage", labels)
    for (const tokens of [1, 3, 5, 1e9]) usage.record(tokens)
    const samples = render(store).get("gen_ai_client_token_usage")?.samples ?? []
    const counts = samples.filter(({ name }) => name.endsWith("_bucket")).map(({ value }) => value)
    expect(counts).toEqual([1, 2, ...Array(12).fill(3), 4])
    expect(samples.find(({ name }) => name.endsWith("_sum"))?.value).toBe(1e9 + 9)
  })

  test("whatever a client puts into labels, the text stays readable", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (value) => {
        render(fullStore(value))
      }),
      { numRuns: 50 },
    )
  })

  test("empty labels are left out, metrics without series too", () => {
    const store = new MetricStore()
    store.counter("gateway.attempts", { provider: "a", outcome: "" }).add()
    const families = render(store)
    expect([...families.values()].flatMap(({ samples }) => samples)).toEqual([
      { name: "leapgate_attempts_total", labels: { provider: "a" }, value: 1 },
    ])
  })

  test("an observed value that cannot be read is NaN and costs nothing else", () => {
    const store = new MetricStore()
    store.observe("process.uptime", {}, () => {
      throw new Error("no")
    })
    store.observe("process.memory.usage", {}, () => 1024)
    const families = render(store)
    expect(families.get("process_uptime_seconds")?.samples[0]?.value).toBeNaN()
    expect(families.get("process_memory_usage_bytes")?.samples[0]?.value).toBe(1024)
  })

  test("infinite values are written as Prometheus writes them", () => {
    const store = new MetricStore()
    store.observe("process.uptime", {}, () => Number.POSITIVE_INFINITY)
    expect(renderMetrics(store, ACCEPT[format]).body).toContain("process_uptime_seconds +Inf\n")
  })

  test("an empty store is an empty document", () => {
    expect(renderMetrics(new MetricStore(), ACCEPT[format]).body).toBe(format === "text" ? "" : "# EOF\n")
  })
})

describe("bounds of buckets", () => {
  const bounds = (accept: string) => {
    const body = renderMetrics(fullStore("plain"), accept).body
    return new Set([...body.matchAll(/le="([^"]+)"/g)].map((match) => match[1]))
  }

  test("they are written as Prometheus' own libraries write them", () => {
    expect([...bounds(ACCEPT.text)]).toEqual(
      expect.arrayContaining([
        "1e-05",
        "2.5e-05",
        "0.0001",
        "0.005",
        "1",
        "10",
        "65536",
        "1.048576e+06",
        "6.7108864e+07",
        "+Inf",
      ]),
    )
    expect([...bounds(ACCEPT.openmetrics)]).toEqual(
      expect.arrayContaining(["1e-05", "0.005", "1.0", "10.0", "65536.0", "1.048576e+06", "+Inf"]),
    )
  })
})

test("OpenMetrics tells units", () => {
  const families = parseExposition(renderMetrics(fullStore(), OPEN_METRICS).body, "openmetrics")
  expect(families.get("leapgate_hook_duration_seconds")?.unit).toBe("seconds")
  expect(families.get("process_memory_usage_bytes")?.unit).toBe("bytes")
  expect(families.get("gen_ai_client_token_usage")?.unit).toBeUndefined()
})

describe("the format", () => {
  test.each<[string | null | undefined, ExpositionFormat]>([
    [undefined, "text"],
    [null, "text"],
    ["", "text"],
    ["*/*", "text"],
    ["text/html,application/xhtml+xml,*/*;q=0.8", "text"],
    ["text/plain; version=0.0.4", "text"],
    ["application/openmetrics-text", "openmetrics"],
    ["Application/OpenMetrics-Text;Version=1.0.0;charset=utf-8", "openmetrics"],
    ["text/plain, application/openmetrics-text", "openmetrics"],
    ["application/openmetrics-text;version=2.0.0", "text"],
    ["application/openmetrics-text;q=0, text/plain;q=0.1", "text"],
    ["application/openmetrics-text;q=0.2, text/plain;q=0.8", "text"],
    ["application/openmetrics-text;q=garbage", "text"],
    // Prometheus 2.42
    [
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
      "openmetrics",
    ],
    // Prometheus 3
    [
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
      "openmetrics",
    ],
  ])("Accept %p gets %s", (accept, format) => {
    const { body, contentType } = renderMetrics(fullStore(), accept)
    expect(contentType).toBe(
      format === "text" ? "text/plain; version=0.0.4; charset=utf-8" : `${OPEN_METRICS}; charset=utf-8`,
    )
    parseExposition(body, format)
  })
})

const promtool = Bun.which("promtool")
if (promtool === null) {
  console.warn(
    "SKIPPED: promtool is not installed (Debian: prometheus), so it did not check the metrics text",
  )
}

test.skipIf(promtool === null)("promtool has nothing to say against it", async () => {
  const child = Bun.spawn([promtool ?? "", "check", "metrics"], {
    stdin: new Blob([renderMetrics(fullStore()).body]),
    stdout: "pipe",
    stderr: "pipe",
  })
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()])
  expect(out + err).toBe("")
  expect(await child.exited).toBe(0)
})
