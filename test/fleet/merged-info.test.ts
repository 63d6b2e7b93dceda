import { expect, test } from "bun:test"
import { mergeInfo } from "../../src/fleet/merged-info.ts"
import type { PluginInfo } from "../../src/plugin/plugin-info.ts"

const MORNING = "2026-11-22T08:00:00.000Z"
const NOON = "2026-11-22T12:00:00.000Z"
const FAULT = { code: "plugin_load_failed", message: "broken", at: NOON } as const

function info(facts: Partial<PluginInfo> = {}): PluginInfo {
  return {
    name: "p",
    version: "1.0.0",
    type: "middleware",
    description: null,
    enabled: true,
    state: "active",
    loaded_at: MORNING,
    last_used: null,
    metrics: metrics({}),
    error: null,
    source: "/plugins/p.ts",
    bundled: false,
    generation: 1,
    priority: 50,
    metadata: {},
    dependencies: {},
    previous_version: null,
    serves_previous: false,
    canary: null,
    integrity: { sha256: null, locked: null },
    ...facts,
  }
}

function metrics(counts: Partial<PluginInfo["metrics"]>): PluginInfo["metrics"] {
  return {
    calls: 0,
    errors: 0,
    timeouts: 0,
    total_time_ms: 0,
    average_time_ms: 0,
    last_error: null,
    last_call: null,
    ...counts,
  }
}

test("counts are summed, the average is of all calls, and the last is the latest", () => {
  const early = { message: "first", at: MORNING }
  const late = { message: "second", at: NOON }
  const [merged] = mergeInfo([
    {
      pid: 1,
      value: [
        info({
          last_used: NOON,
          metrics: metrics({ calls: 1, errors: 1, total_time_ms: 10, last_error: late, last_call: NOON }),
        }),
      ],
    },
    {
      pid: 2,
      value: [
        info({
          last_used: MORNING,
          metrics: metrics({
            calls: 3,
            errors: 1,
            timeouts: 1,
            total_time_ms: 2,
            last_error: early,
            last_call: MORNING,
          }),
        }),
      ],
    },
    { pid: 3, value: [info()] },
  ])
  expect(merged).toMatchObject({
    last_used: NOON,
    metrics: {
      calls: 4,
      errors: 2,
      timeouts: 1,
      total_time_ms: 12,
      average_time_ms: 3,
      last_error: late,
      last_call: NOON,
    },
  })
})

test("where processes differ, the one that is worst off is shown, and each beside it", () => {
  const [merged] = mergeInfo([
    { pid: 1, value: [info({ version: "2.0.0", generation: 4 })] },
    { pid: 2, value: [info({ state: "error", version: "1.9.0", generation: null, error: FAULT })] },
    { pid: 3, value: [info({ state: "inactive" })] },
  ])
  expect(merged).toMatchObject({ state: "error", version: "1.9.0", error: FAULT })
  expect(merged?.processes).toEqual([
    { pid: 1, state: "active", version: "2.0.0", generation: 4, error: null },
    { pid: 2, state: "error", version: "1.9.0", generation: null, error: FAULT },
    { pid: 3, state: "inactive", version: "1.0.0", generation: 1, error: null },
  ])
})

test("a reload that failed in one process is shown", () => {
  const readings = [info(), info({ error: FAULT }), info()].map((one, pid) => ({ pid, value: [one] }))
  expect(mergeInfo(readings)).toMatchObject([{ state: "active", error: FAULT }])
})

test("a plugin that one process lacks, and a process that is silent, are told apart", () => {
  const [merged] = mergeInfo([
    { pid: 1, value: [info()] },
    { pid: 2, value: [] },
    { pid: 3, value: undefined },
  ])
  expect(merged?.state).toBe("active")
  expect(merged?.processes?.map(({ pid, state }) => [pid, state])).toEqual([
    [1, "active"],
    [2, "unloaded"],
    [3, "unknown"],
  ])
})

test("plugins are sorted by name, and two files with one name stay two", () => {
  const two = info({ source: "/plugins/other.ts", state: "error", error: FAULT })
  const merged = mergeInfo([
    { pid: 1, value: [info({ name: "z" }), info(), two] },
    { pid: 2, value: [two, info(), info({ name: "a" })] },
  ])
  expect(merged.map(({ name, source }) => `${name} ${source}`)).toEqual([
    "a /plugins/p.ts",
    "p /plugins/other.ts",
    "p /plugins/p.ts",
    "z /plugins/p.ts",
  ])
})
