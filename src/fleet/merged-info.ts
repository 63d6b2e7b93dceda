/** What several processes know about the same plugins, as one. */
import type { PluginState } from "../plugin/contract.ts"
import type { PluginInfo, PluginMetricsInfo, ProcessInfo } from "../plugin/plugin-info.ts"
import type { Reading } from "./readings.ts"

type InfoReading = Reading<readonly PluginInfo[]>

/**
 * Counts are summed, `last_…` is the latest. Where processes differ, the rest is that of the one that is worst off;
 * `processes` has each.
 */
export function mergeInfo(readings: readonly InfoReading[]): readonly PluginInfo[] {
  const answered = readings.flatMap(({ value }) => value ?? [])
  const identities = new Map(answered.map((info) => [identityOf(info), info]))
  return [...identities.keys()]
    .map((identity) => mergeOne(identity, readings))
    .sort((a, b) => a.name.localeCompare(b.name) || a.source.localeCompare(b.source))
}

/** Two files may claim one name: both are shown. */
export function identityOf({ name, source }: PluginInfo): string {
  return `${name}\n${source}`
}

function mergeOne(identity: string, readings: readonly InfoReading[]): PluginInfo {
  const found = readings.map(({ pid, value }) => ({
    pid,
    hasAnswered: value !== undefined,
    info: value?.find((info) => identityOf(info) === identity),
  }))
  const infos = found.flatMap(({ info }) => info ?? [])
  const worst = infos.reduce((a, b) => (badness(b) > badness(a) ? b : a))
  return {
    ...worst,
    last_used: latest(infos.map(({ last_used }) => last_used)),
    metrics: mergeMetrics(infos.map(({ metrics }) => metrics)),
    processes: found.map(processOf),
  }
}

/** From what nobody has to look at to what somebody has to. */
const BY_BADNESS: readonly PluginState[] = ["active", "loaded", "inactive", "unloaded", "error"]

function badness({ state, error }: PluginInfo): number {
  return 2 * BY_BADNESS.indexOf(state) + (error === null ? 0 : 1)
}

interface Found {
  readonly pid: number
  readonly hasAnswered: boolean
  readonly info: PluginInfo | undefined
}

function processOf({ pid, hasAnswered, info }: Found): ProcessInfo {
  if (info === undefined) {
    return {
      pid,
      state: hasAnswered ? "unloaded" : "unknown",
      version: null,
      generation: null,
      error: null,
    }
  }
  const { state, version, generation, error } = info
  return { pid, state, version, generation, error }
}

function mergeMetrics(all: readonly PluginMetricsInfo[]): PluginMetricsInfo {
  const sum = (name: "calls" | "errors" | "timeouts" | "total_time_ms") =>
    all.reduce((total, metrics) => total + metrics[name], 0)
  const calls = sum("calls")
  const total = sum("total_time_ms")
  const errors = all.flatMap(({ last_error }) => last_error ?? [])
  return {
    calls,
    errors: sum("errors"),
    timeouts: sum("timeouts"),
    total_time_ms: total,
    average_time_ms: calls === 0 ? 0 : total / calls,
    last_error: errors.sort((a, b) => b.at.localeCompare(a.at))[0] ?? null,
    last_call: latest(all.map(({ last_call }) => last_call)),
  }
}

/** Of times as ISO 8601, whose order is that of their texts. */
function latest(times: readonly (string | null)[]): string | null {
  return times.reduce((a, b) => ((b ?? "") > (a ?? "") ? b : a), null)
}
