import type { MetricStore } from "./store.ts"

interface ProcessMetricsOptions {
  /** The gateway's version. */
  readonly version: string
  readonly lagIntervalMs?: number
}

/** Measures the process itself. @returns a function that stops it. */
export function startProcessMetrics(
  store: MetricStore,
  { version, lagIntervalMs = 500 }: ProcessMetricsOptions,
): () => void {
  const stops = [
    store.observe("gateway.build.info", { version, bun: Bun.version }, () => 1),
    store.observe("process.memory.usage", {}, () => process.memoryUsage.rss()),
    store.observe("process.cpu.time", { "cpu.mode": "user" }, () => process.cpuUsage().user / 1e6),
    store.observe("process.cpu.time", { "cpu.mode": "system" }, () => process.cpuUsage().system / 1e6),
    store.observe("process.uptime", {}, () => process.uptime()),
    sampleLag(store, lagIntervalMs),
  ]
  return () => {
    for (const stop of stops) stop()
  }
}

function sampleLag(store: MetricStore, intervalMs: number): () => void {
  const lag = store.histogram("gateway.eventloop.lag", {})
  let dueMs = performance.now() + intervalMs
  const timer = setInterval(() => {
    const nowMs = performance.now()
    lag.record(Math.max(0, nowMs - dueMs) / 1000)
    dueMs = nowMs + intervalMs
  }, intervalMs)
  timer.unref()
  return () => clearInterval(timer)
}
