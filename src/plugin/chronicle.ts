/** Tells what happens to the plugins: in their records, the log, the metrics, and to who observes it. */
import { GatewayError, messageOf } from "../errors.ts"
import type { PluginLoadEvent, PluginState } from "./contract.ts"
import type { Generations } from "./generations.ts"
import type { PluginInstance } from "./instance.ts"
import { isOfLock } from "./plugin-lock.ts"
import type { PluginMetrics } from "./plugin-metrics.ts"
import type { PluginRecord, RecordedError } from "./record.ts"
import type { Roster } from "./roster.ts"
import type { PluginServices } from "./setup-context.ts"
import type { StatsBook } from "./stats.ts"

export type Change = PluginLoadEvent["change"]

interface ChronicleOptions {
  readonly services: PluginServices
  readonly roster: Roster
  readonly generations: Generations
  readonly stats: StatsBook
  readonly metrics: PluginMetrics
  readonly onEvent: (event: PluginLoadEvent) => void
  /** A plugin's counts are not wanted any more. */
  readonly onForget: (plugin: string) => void
}

export class Chronicle {
  readonly #options: ChronicleOptions

  constructor(options: ChronicleOptions) {
    this.#options = options
  }

  tell({ name: plugin, version, type }: PluginInstance, change: Change): void {
    const { services, generations, metrics, onEvent } = this.#options
    const { generation } = generations.current
    metrics.generation(generation)
    if (change === "reloaded" || change === "canary_started") metrics.reload(plugin, "success")
    services.log.info(`plugin ${change.replace("_", " ")}`, { plugin, version, generation })
    onEvent({ plugin, version, type, change, generation, timestamp: services.clock.now() })
  }

  enter(record: PluginRecord, state: PluginState): void {
    const { roster, metrics } = this.#options
    const { name, instance: serving, canary, held } = record
    record.state = state
    if (roster.find(name) !== record) return
    metrics.state(name, serving?.isOff ? "error" : state)
    metrics.versions(name, { serving, canary: canary?.instance, held })
  }

  /** Records why a plugin could not be loaded. */
  loadFailed(record: PluginRecord, thrown: unknown): GatewayError {
    const { services, metrics } = this.#options
    const error = toLoadError(thrown, record)
    const isNews = record.error?.message !== error.message
    record.error = this.recorded(error)
    if (record.instance === undefined) this.enter(record, "error")
    // What is wrong with the lock was said once, for all.
    if (!isNews || isOfLock(error)) return error
    if (record.instance !== undefined) metrics.reload(record.name, "failure")
    const what =
      record.instance === undefined
        ? "a plugin is not active"
        : "a plugin was not reloaded; its last version serves on"
    const { code, message, details, cause } = error
    // The gateway's own stack says nothing; that of the plugin's error does.
    const reason = cause === undefined ? { message, details } : { message, details, cause }
    services.log.error(what, { plugin: record.name, source: record.source, code, reason })
    return error
  }

  /** Records why a version was taken back by itself. */
  tookBack(record: PluginRecord, version: string, reason: string): void {
    record.error = this.recorded(new GatewayError("plugin_failed", reason))
    this.#options.services.log.error("a plugin was rolled back", { plugin: record.name, version, reason })
  }

  recorded({ code, message, details }: GatewayError): RecordedError {
    return { code, message, details, at: this.#options.services.clock.now() }
  }

  /** Drops the counts of a name that nobody has any more; another file may have it, or want it. */
  forgetUnused(plugin: string): void {
    const { roster, stats, metrics, onForget } = this.#options
    if (roster.find(plugin) !== undefined) return
    stats.forget(plugin)
    metrics.forget(plugin)
    onForget(plugin)
  }
}

function toLoadError(thrown: unknown, record: PluginRecord): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  return new GatewayError("plugin_load_failed", `${record.source}: ${messageOf(thrown)}`, { cause: thrown })
}
