import type { Clock } from "../clock.ts"
import type { Logger } from "../telemetry/logger.ts"
import { Breaker, type BreakerEntry, type BreakerSettings, breakerSettings } from "./breaker.ts"
import type { PluginInstance } from "./instance.ts"
import type { PluginMetrics } from "./plugin-metrics.ts"

interface FitOptions {
  readonly entry: BreakerEntry | undefined
  /** For plugins that say nothing of it. */
  readonly fallback: BreakerSettings | false
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: PluginMetrics
  /** Whether the instance is the one that its plugin's state is about. */
  serves(instance: PluginInstance): boolean
}

/** Gives an instance the breaker that its settings ask for. */
export function fitBreaker(instance: PluginInstance, options: FitOptions): void {
  const { entry, fallback, clock, log, metrics, serves } = options
  const settings = breakerSettings(entry, fallback)
  if (settings === false) return
  const { name: plugin, version, conduct } = instance
  const breaker = new Breaker({
    settings,
    clock,
    calls: () => conduct.calls,
    onTrip({ reason, coolDownMs, untilMs }) {
      instance.isOff = true
      metrics.tripped(plugin)
      if (serves(instance)) metrics.state(plugin, "error")
      const until = new Date(untilMs).toISOString()
      log.error("a plugin that keeps failing was switched off", {
        plugin,
        version,
        reason,
        until,
        coolDownMs,
      })
    },
    onRecover() {
      instance.isOff = false
      if (serves(instance)) metrics.state(plugin, "active")
      log.info("a plugin that was switched off is on again", { plugin, version })
    },
  })
  instance.breaker = breaker
  conduct.watch(breaker)
}
