/** For every hook: how many plugins are registered for it now, and what its calls came to since the start. */
import { HOOK_NAMES } from "./contract.ts"
import type { PointBook, PointStats } from "./point.ts"
import type { Snapshot } from "./snapshot.ts"

interface HookCounts {
  readonly registered: number
  /** By the name of the plugin. */
  readonly plugins: Readonly<Record<string, PointStats>>
}

/** By the name of the hook. */
export type HookReading = Readonly<Record<string, HookCounts>>

export function readHooks(points: PointBook, { hooks }: Snapshot): HookReading {
  return Object.fromEntries(
    HOOK_NAMES.map((hook) => {
      const records = [...points.records()].filter(({ point }) => point === hook)
      const plugins = Object.fromEntries(records.map(({ plugin, stats }) => [plugin, { ...stats }]))
      return [hook, { registered: hooks[hook].length, plugins }]
    }),
  )
}

/** Of all processes: counts are summed; a hook has as many plugins as where it has the most. */
export function mergeHooks(readings: readonly HookReading[]): HookReading {
  return Object.fromEntries(
    HOOK_NAMES.map((hook) => {
      const counts = readings.flatMap((reading) => reading[hook] ?? [])
      const names = new Set(counts.flatMap(({ plugins }) => Object.keys(plugins)))
      const plugins = [...names].map((name) => [
        name,
        sumOf(counts.flatMap(({ plugins }) => plugins[name] ?? [])),
      ])
      const registered = Math.max(0, ...counts.map(({ registered }) => registered))
      return [hook, { registered, plugins: Object.fromEntries(plugins) }]
    }),
  )
}

function sumOf(all: readonly PointStats[]): PointStats {
  const total = { calls: 0, errors: 0, timeouts: 0, totalTimeMs: 0 }
  for (const { calls, errors, timeouts, totalTimeMs } of all) {
    total.calls += calls
    total.errors += errors
    total.timeouts += timeouts
    total.totalTimeMs += totalTimeMs
  }
  return total
}
