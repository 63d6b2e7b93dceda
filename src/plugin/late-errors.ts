import type { Clock } from "../clock.ts"
import { messageOf } from "../errors.ts"
import { positionOf } from "../source/source-position.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { Conduct } from "./conduct.ts"
import { LogPace } from "./log-pace.ts"
import type { PluginRecord } from "./record.ts"
import type { PluginStats } from "./stats.ts"

interface LateErrorOptions {
  readonly record: PluginRecord
  readonly log: Logger
  readonly clock: Clock
  readonly conduct: Conduct
  /** Undefined as long as the plugin has no name. */
  stats(): PluginStats | undefined
}

/** Receives what a plugin throws in its own timers and forgotten promises: it counts as an error of the plugin. */
export function createLateErrorHandler({ record, log, clock, conduct, stats }: LateErrorOptions) {
  const pace = new LogPace()
  return function lateError(thrown: unknown): void {
    const reason = `outside a call: ${messageOf(thrown)}`
    stats()?.recordError(reason, "error")
    conduct.failed(reason, { place: "outside" })
    const line = pace.next(clock.monotonic())
    if (line === undefined) return
    log.error("a plugin threw outside a call", {
      plugin: record.name,
      error: thrown,
      ...positionOf(thrown, record.files),
      ...line,
    })
  }
}
