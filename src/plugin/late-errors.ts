import type { Clock } from "../clock.ts"
import { messageOf } from "../errors.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { Conduct } from "./conduct.ts"
import type { PluginRecord } from "./record.ts"
import { positionOf } from "./source-position.ts"
import type { PluginStats } from "./stats.ts"

interface LateErrorOptions {
  readonly record: PluginRecord
  readonly log: Logger
  readonly clock: Clock
  readonly conduct: Conduct
  /** Undefined as long as the plugin has no name. */
  stats(): PluginStats | undefined
}

const LOG_INTERVAL_MS = 1000

/**
 * Receives what a plugin throws in its own timers and forgotten promises: it counts as an error of the plugin.
 * One line a second: a timer that always throws must not flood the log.
 */
export function createLateErrorHandler({ record, log, clock, conduct, stats }: LateErrorOptions) {
  let loggedAtMs = Number.NEGATIVE_INFINITY
  let suppressed = 0
  return function lateError(thrown: unknown): void {
    const reason = `outside a call: ${messageOf(thrown)}`
    stats()?.recordError(reason, "error")
    conduct.failed(reason, { place: "outside" })
    const nowMs = clock.monotonic()
    if (nowMs - loggedAtMs < LOG_INTERVAL_MS) {
      suppressed++
      return
    }
    log.error("a plugin threw outside a call", {
      plugin: record.name,
      error: thrown,
      ...positionOf(thrown, record.files),
      ...(suppressed > 0 ? { suppressed } : {}),
    })
    loggedAtMs = nowMs
    suppressed = 0
  }
}
