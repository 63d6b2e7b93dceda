/** Asks the provider plugins that serve, off the request path, which models they have and whether they can serve. */
import type { Clock } from "../clock.ts"
import { messageOf } from "../errors.ts"
import { callTimeout, isCallTimeout } from "../plugin/call-timeout.ts"
import type { Awaitable, ModelInfo } from "../plugin/contract.ts"
import type { PluginInstance } from "../plugin/instance.ts"
import { LogPace } from "../plugin/log-pace.ts"
import type { PointBook } from "../plugin/point.ts"
import { checkModels } from "../plugin/validate.ts"
import type { Logger } from "../telemetry/logger.ts"
import { guarded } from "./guarded-call.ts"
import type { HealthBook } from "./health.ts"
import { modelInfos } from "./provider.ts"
import { repeatedly } from "./repetition.ts"

type ProviderPlugin = PluginInstance<"provider">

interface ProviderWatchOptions {
  readonly clock: Clock
  readonly log: Logger
  readonly points: PointBook
  readonly health: HealthBook
  /** Between two checks of one provider's health. */
  readonly healthPauseMs: () => number
  /** Told after a plugin has listed other models than before. */
  readonly onModels: () => void
}

const MODELS_PAUSE_MS = 60_000
const COMPLAINT_INTERVAL_MS = 60_000
const MAX_HEALTH_CHECK_MS = 10_000
/** However small the configured pause is. */
const MIN_HEALTH_PAUSE_MS = 100

export class ProviderWatch {
  readonly #options: ProviderWatchOptions
  /** With what ends the watch. */
  readonly #watched = new Map<ProviderPlugin, () => void>()
  /** By the plugin's name: a new version serves the models of the old one until it has listed its own. */
  readonly #models = new Map<string, readonly ModelInfo[]>()
  readonly #complaints = new Map<string, LogPace>()
  #healthPauseMs = 0

  constructor(options: ProviderWatchOptions) {
    this.#options = options
  }

  /** What a plugin listed last; undefined where it has not, or does not. */
  modelsOf({ name, abilities }: ProviderPlugin): readonly ModelInfo[] | undefined {
    return abilities.listModels === undefined ? undefined : this.#models.get(name)
  }

  /** Watches these plugins, and no others any more; with another pause than before, all of them anew. */
  follow(plugins: readonly ProviderPlugin[]): void {
    const healthPauseMs = Math.max(MIN_HEALTH_PAUSE_MS, this.#options.healthPauseMs())
    if (healthPauseMs !== this.#healthPauseMs) {
      this.#healthPauseMs = healthPauseMs
      for (const [plugin, stop] of this.#watched) {
        stop()
        this.#watched.set(plugin, this.#watch(plugin))
      }
    }
    for (const [plugin, stop] of this.#watched) {
      if (plugins.includes(plugin)) continue
      stop()
      this.#watched.delete(plugin)
      this.#forget(plugin.name, plugins)
    }
    for (const plugin of plugins) {
      if (!this.#watched.has(plugin)) this.#watched.set(plugin, this.#watch(plugin))
    }
  }

  #forget(name: string, plugins: readonly ProviderPlugin[]): void {
    const abilities = plugins.find((plugin) => plugin.name === name)?.abilities
    if (abilities?.healthCheck === undefined) this.#options.health.forget(name)
    if (abilities?.listModels !== undefined) return
    this.#models.delete(name)
    this.#complaints.delete(name)
  }

  #watch(plugin: ProviderPlugin): () => void {
    const stops = [this.#watchModels(plugin), this.#watchHealth(plugin)]
    return () => {
      for (const stop of stops) stop?.()
    }
  }

  #watchModels(plugin: ProviderPlugin): (() => void) | undefined {
    const { name, abilities, timeoutMs } = plugin
    if (abilities.listModels === undefined) return undefined
    const ask = this.#ability(plugin, "listModels", abilities.listModels, timeoutMs)
    return this.#repeatedly(MODELS_PAUSE_MS, async (signal) => {
      try {
        const listed = checkModels(await ask(signal))
        if (signal.aborted) return
        const models = modelInfos(listed).map((model) => ({ ...model }))
        const known = this.#models.get(name) ?? modelInfos(abilities.models)
        this.#models.set(name, models)
        if (!Bun.deepEquals(models, known)) this.#options.onModels()
      } catch (thrown) {
        if (!signal.aborted) this.#listingFailed(plugin, thrown)
      }
    })
  }

  #listingFailed(plugin: ProviderPlugin, thrown: unknown): void {
    const { name, version } = plugin
    plugin.failed(`listModels: ${messageOf(thrown)}`, isCallTimeout(thrown) ? "timeout" : "error")
    const { clock, log } = this.#options
    const pace = this.#complaints.get(name) ?? new LogPace(COMPLAINT_INTERVAL_MS)
    this.#complaints.set(name, pace)
    if (pace.next(clock.monotonic()) === undefined) return
    log.warn("a provider plugin failed to list its models; those that are known stay", {
      plugin: name,
      version,
      error: thrown,
    })
  }

  /** That a provider cannot serve is an answer, and no failure of the plugin. */
  #watchHealth(plugin: ProviderPlugin): (() => void) | undefined {
    const { name, abilities, timeoutMs } = plugin
    const { health } = this.#options
    if (abilities.healthCheck === undefined) return undefined
    const limitMs = Math.min(timeoutMs, MAX_HEALTH_CHECK_MS)
    const ask = this.#ability(plugin, "healthCheck", abilities.healthCheck, limitMs)
    health.expect(name)
    return this.#repeatedly(this.#healthPauseMs, async (signal) => {
      const fault = await ask(signal).then(() => undefined, messageOf)
      if (!signal.aborted) health.record(name, fault)
    })
  }

  #repeatedly(pauseMs: number, task: (signal: AbortSignal) => Promise<void>): () => void {
    return repeatedly({ clock: this.#options.clock, pauseMs, task })
  }

  /** An ability that takes a signal, with a deadline. */
  #ability<R>(
    plugin: ProviderPlugin,
    name: string,
    fn: (context: { signal: AbortSignal }) => Awaitable<R>,
    limitMs: number,
  ): (signal: AbortSignal) => Promise<R> {
    const { clock, points } = this.#options
    const call = guarded({
      instance: plugin,
      point: `provider.${name}`,
      fn: fn.bind(plugin.abilities),
      points,
    })
    return async function ask(signal) {
      const controller = new AbortController()
      const abort = () => controller.abort(signal.reason)
      signal.addEventListener("abort", abort, { once: true })
      const late = () => controller.abort(callTimeout({ plugin: plugin.name, what: name, limitMs }))
      const cancel = clock.after(limitMs, late)
      try {
        return await call({ signal: controller.signal })
      } finally {
        cancel()
        signal.removeEventListener("abort", abort)
      }
    }
  }
}
