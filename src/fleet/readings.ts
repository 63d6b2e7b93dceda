/** What processes that serve together ask each other about. */
import type { CacheReading } from "../plugin/cache-keeper.ts"
import type { HookReading } from "../plugin/hook-stats.ts"
import type { PluginInfo } from "../plugin/plugin-info.ts"
import type { FamilyText, MetricsFormat } from "../telemetry/exposition.ts"

/** By what it is about: what one process answers. */
export interface Readings {
  readonly plugins: readonly PluginInfo[]
  readonly hooks: HookReading
  readonly metrics: readonly FamilyText[]
  /** Null where it is no active cache, or failed. */
  readonly cache: CacheReading | null
}

export type Topic =
  | { readonly about: "plugins" | "hooks" }
  | { readonly about: "metrics"; readonly format: MetricsFormat }
  | { readonly about: "cache"; readonly name: string }

/** One process's answer; undefined where it gave none in time. */
export interface Reading<V> {
  readonly pid: number
  readonly value: V | undefined
}
