import { expect, test } from "bun:test"
import type { Candidate } from "../../src/routing/catalog.ts"
import { HealthBook } from "../../src/routing/health.ts"
import { configuredProvider, DEFAULT_TIMEOUTS } from "../../src/routing/provider.ts"
import { createLogger } from "../../src/telemetry/logger.ts"
import { MetricStore } from "../../src/telemetry/store.ts"
import { renderMetrics } from "../support/render-metrics.ts"
import { steppedClock } from "../support/stepped-clock.ts"

function setUp() {
  const clock = steppedClock()
  const lines: { level: string; message: string; provider: string }[] = []
  const log = createLogger({ level: "debug", destination: (line) => lines.push(JSON.parse(line)) })
  const metrics = new MetricStore()
  const health = new HealthBook({ clock, log, metrics })
  const shown = () =>
    [...renderMetrics(metrics, null).body.matchAll(/^leapgate_provider_health.* \d$/gm)].map(([line]) => line)
  return { clock, lines, health, shown }
}

const candidate = (name: string): Candidate => ({
  provider: configuredProvider(name, { models: ["m"], chat: () => new Response() }, DEFAULT_TIMEOUTS),
  model: "m",
  info: undefined,
})
const candidates = ["a", "b", "c", "d"].map(candidate)
const names = (ordered: readonly Candidate[]) => ordered.map(({ provider }) => provider.name).join("")

test("nothing is known of a provider that is not checked, and one that will be is unknown", () => {
  const { health, clock, shown } = setUp()
  expect(health.of("a")).toBeUndefined()
  health.expect("a")
  expect(health.of("a")).toEqual({
    status: "unknown",
    reason: undefined,
    checkedAtMs: undefined,
    sinceMs: clock.now(),
  })
  expect(shown()).toEqual([])
})

test("a state keeps its start while checks confirm it, with the latest reason", () => {
  const { health, clock } = setUp()
  health.record("a", "down")
  const sinceMs = clock.now()
  clock.advance(1000)
  health.record("a", "still down")
  expect(health.of("a")).toEqual({
    status: "unhealthy",
    reason: "still down",
    checkedAtMs: sinceMs + 1000,
    sinceMs,
  })
  clock.advance(1000)
  health.record("a", undefined)
  expect(health.of("a")).toMatchObject({ status: "healthy", reason: undefined, sinceMs: sinceMs + 2000 })
})

test("candidates that are healthy, unknown or not checked keep their order, and go first", () => {
  const { health } = setUp()
  expect(health.healthyFirst(candidates)).toBe(candidates)
  health.record("a", "down")
  health.record("b", undefined)
  health.expect("c")
  health.record("d", "down")
  expect(names(health.healthyFirst(candidates))).toBe("bcad")
  health.record("a", undefined)
  expect(names(health.healthyFirst(candidates))).toBe("abcd")
})

test("where all are unhealthy, all are tried", () => {
  const { health } = setUp()
  for (const name of ["a", "b", "c", "d"]) health.record(name, "down")
  expect(names(health.healthyFirst(candidates))).toBe("abcd")
})

test("a change to unhealthy and one back are logged once each; a first good check is not", () => {
  const { health, lines } = setUp()
  health.record("a", undefined)
  health.record("a", "down")
  health.record("a", "down")
  health.record("a", undefined)
  health.record("a", undefined)
  expect(lines.map(({ level, message, provider }) => [level, message, provider])).toEqual([
    ["warn", "a provider cannot serve", "a"],
    ["info", "a provider can serve again", "a"],
  ])
})

test("the metric shows the last check, and goes with what is known", () => {
  const { health, shown } = setUp()
  health.record("a", undefined)
  health.record("b", "down")
  expect(shown()).toEqual([
    'leapgate_provider_health{provider="a"} 1',
    'leapgate_provider_health{provider="b"} 0',
  ])
  health.forget("b")
  expect(shown()).toEqual(['leapgate_provider_health{provider="a"} 1'])
  expect(health.of("b")).toBeUndefined()
  expect(names(health.healthyFirst(candidates))).toBe("abcd")
})
