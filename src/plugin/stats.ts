import type { Clock } from "../clock.ts"

/** What one plugin's calls came to. Belongs to the plugin's name, so that it survives reloads. */
export class PluginStats {
  calls = 0
  errors = 0
  timeouts = 0
  totalTimeMs = 0
  lastError: { readonly message: string; readonly at: number } | undefined
  /** Milliseconds since the epoch. */
  lastCallMs: number | undefined
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  recordCall(elapsedMs: number): void {
    this.calls++
    this.totalTimeMs += elapsedMs
    this.lastCallMs = this.#clock.now()
  }

  recordError(message: string, kind: "error" | "timeout"): void {
    this.errors++
    if (kind === "timeout") this.timeouts++
    this.lastError = { message, at: this.#clock.now() }
  }
}

/** The counts of every plugin that is known. */
export class StatsBook {
  readonly #clock: Clock
  readonly #stats = new Map<string, PluginStats>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  of(plugin: string): PluginStats {
    let stats = this.#stats.get(plugin)
    if (stats === undefined) {
      stats = new PluginStats(this.#clock)
      this.#stats.set(plugin, stats)
    }
    return stats
  }

  forget(plugin: string): void {
    this.#stats.delete(plugin)
  }
}
