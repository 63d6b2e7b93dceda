import { expect, test } from "bun:test"
import { startProcessMetrics } from "../../src/telemetry/process-metrics.ts"
import { MetricStore } from "../../src/telemetry/store.ts"
import { renderMetrics } from "../support/render-metrics.ts"
import { waitFor } from "../support/wait.ts"
import { parseExposition } from "./exposition-parser.ts"

function valuesOf(store: MetricStore): Record<string, number> {
  const families = parseExposition(renderMetrics(store).body, "text")
  const samples = [...families.values()].flatMap((family) => family.samples)
  return Object.fromEntries(
    samples.map(({ name, labels, value }) => [[name, ...Object.values(labels)].join(" "), value]),
  )
}

test("memory, CPU time, uptime and the build are read when they are asked for", () => {
  const store = new MetricStore()
  const stop = startProcessMetrics(store, { version: "1.2.3" })
  const values = valuesOf(store)
  stop()
  expect(values[`leapgate_build_info 1.2.3 ${Bun.version}`]).toBe(1)
  expect(values.process_memory_usage_bytes).toBeGreaterThan(10e6)
  expect(values["process_cpu_time_seconds_total user"]).toBeGreaterThan(0)
  expect(values["process_cpu_time_seconds_total system"]).toBeGreaterThanOrEqual(0)
  expect(values.process_uptime_seconds).toBeCloseTo(process.uptime(), 0)
})

test("work that blocks the process shows as lag", async () => {
  const store = new MetricStore()
  const stop = startProcessMetrics(store, { version: "1.2.3", lagIntervalMs: 5 })
  const lag = store.histogram("gateway.eventloop.lag", {})
  await waitFor("a first sample", () => lag.count > 0)
  const before = lag.sum
  Bun.sleepSync(100)
  await waitFor("the late sample", () => lag.sum > before + 0.08)
  stop()
})

test("stopping ends the sampling and takes the observed series away", async () => {
  const store = new MetricStore()
  const stop = startProcessMetrics(store, { version: "1.2.3", lagIntervalMs: 1 })
  const lag = store.histogram("gateway.eventloop.lag", {})
  await waitFor("a first sample", () => lag.count > 0)
  stop()
  const { count } = lag
  let turns = 0
  const yardstick = setInterval(() => turns++, 1)
  await waitFor("as many turns as would be samples", () => turns > 5)
  clearInterval(yardstick)
  expect(lag.count).toBe(count)
  const names = Object.keys(valuesOf(store))
  expect(names.filter((name) => !name.startsWith("leapgate_eventloop_lag"))).toEqual([])
})

test("it does not keep a process alive that has nothing else to do", async () => {
  const script = `
    import { MetricStore } from ${JSON.stringify(Bun.resolveSync("../../src/telemetry/store.ts", import.meta.dir))}
    import { startProcessMetrics } from ${JSON.stringify(Bun.resolveSync("../../src/telemetry/process-metrics.ts", import.meta.dir))}
    startProcessMetrics(new MetricStore(), { version: "1.2.3", lagIntervalMs: 10 })
  `
  const child = Bun.spawn([process.execPath, "-e", script], { stderr: "inherit" })
  expect(await child.exited).toBe(0)
})
