/** Brings one plugin's code to life: reads it, sets it up, and hands it over to who decides what serves. */
import { GatewayError } from "../errors.ts"
import type { PluginBuilder } from "../source/build.ts"
import { DEFAULT_BREAKER } from "./breaker.ts"
import { Conduct } from "./conduct.ts"
import { PluginInstance, type PluginSettings } from "./instance.ts"
import { fitBreaker } from "./instance-breaker.ts"
import { createLateErrorHandler } from "./late-errors.ts"
import { createLimiter, type Limiter } from "./limiter.ts"
import { loadPlugin, recallPlugin } from "./loader.ts"
import type { PluginLock } from "./plugin-lock.ts"
import type { PluginMetrics } from "./plugin-metrics.ts"
import { type Candidate, isSameCode, type PluginManifest, type PluginRecord, type Release } from "./record.ts"
import type { Roster } from "./roster.ts"
import type { PluginServices } from "./setup-context.ts"
import type { Stage } from "./stage.ts"
import type { StatsBook } from "./stats.ts"
import type { RollbackReason, Succession } from "./succession.ts"

/**
 * Whether to read code again: in any case, where its files changed, or where nothing of it serves. `for-settings`: in
 * any case, but a version that was gone back to stays the one it is.
 */
export type ReadWhen = "always" | "if-changed" | "if-down" | "for-settings"

interface LauncherOptions {
  readonly services: PluginServices
  readonly roster: Roster
  readonly stage: Stage
  readonly succession: Succession
  readonly builder: PluginBuilder
  readonly lock: PluginLock
  readonly stats: StatsBook
  readonly metrics: PluginMetrics
  /** Plugins that are read or set up at a time. */
  readonly maxConcurrent: number
  readonly entry: (name: string) => PluginSettings | undefined
}

export class Launcher {
  readonly #options: LauncherOptions
  readonly #limited: Limiter

  constructor(options: LauncherOptions) {
    this.#options = options
    this.#limited = createLimiter(options.maxConcurrent)
  }

  /**
   * Reads a plugin's code into its record's candidate.
   * @throws GatewayError what is wrong with it, which the record keeps; or the signal's reason
   */
  async read(record: PluginRecord, when: ReadWhen, signal: AbortSignal): Promise<void> {
    if (when === "if-changed" && !(await record.isChanged())) return
    if (when === "if-down" && record.instance !== undefined) return
    if (!this.#options.roster.has(record)) return
    const { release } = record
    const isRecall = when === "for-settings" && release?.isRecalled === true
    try {
      const candidate = await this.#open(record, isRecall ? release : undefined, signal)
      if (signal.aborted) candidate.module.dispose()
      signal.throwIfAborted()
      record.offer(candidate)
    } catch (thrown) {
      throw signal.aborted ? signal.reason : this.#options.stage.fail(record, thrown)
    }
  }

  /** Opens the code of a record: that of an earlier release, or as it is now. */
  #open(record: PluginRecord, earlier: Release | undefined, signal: AbortSignal): Promise<Candidate> {
    const { services, builder, lock, roster } = this.#options
    const { log, clock } = services
    const stats = () =>
      roster.owner(record.name) === record ? this.#options.stats.of(record.name) : undefined
    const conduct = new Conduct()
    const onLateError = createLateErrorHandler({ record, log, clock, conduct, stats })
    const options = { builder, lock, services, signal, conduct, onLateError }
    return this.#limited(() =>
      earlier === undefined ? loadPlugin(record, options) : recallPlugin(earlier, record, options),
    )
  }

  /**
   * Reserves the name of a candidate. One that cannot have it is dropped: a bundled one where a plugin of the
   * directory stands before it, any other with an error, which the record keeps.
   * @returns the error
   */
  claim(record: PluginRecord): GatewayError | undefined {
    const name = record.plannedManifest?.name
    if (!record.hasCandidate || name === undefined) return undefined
    try {
      record.isShadowed = !this.#options.roster.reserve(record, name)
    } catch (thrown) {
      return this.#options.stage.fail(record, thrown)
    }
    if (record.isShadowed) {
      record.manifest = record.plannedManifest
      record.dropCandidate()
    }
    return undefined
  }

  /**
   * Sets up the candidate and puts it into service; a plugin that is switched off is only made known.
   * @throws GatewayError why that failed, which the record keeps: what served before serves on; or the signal's reason
   */
  async launch(record: PluginRecord, signal: AbortSignal): Promise<void> {
    const { roster, stage, succession } = this.#options
    if (!roster.has(record)) return record.dropCandidate()
    const conflict = this.claim(record)
    if (conflict !== undefined) throw conflict
    const candidate = record.takeCandidate()
    if (candidate === undefined) return
    const { manifest, module } = candidate
    if (!roster.isEnabled(record, manifest.name)) {
      module.dispose()
      return stage.settle(record, candidate)
    }
    const settings = this.#options.entry(manifest.name)
    let instance: PluginInstance
    try {
      record.settings = settings
      instance = await this.#setUp(record, candidate, settings, signal)
    } catch (thrown) {
      throw this.#giveUp(record, candidate, signal, thrown)
    }
    // The world may have changed during the setup. Nothing may come between this look and the swap.
    const unmet = roster.unmet(manifest)
    if (signal.aborted || unmet !== undefined) {
      await instance.dispose()
      throw this.#giveUp(record, candidate, signal, unmet)
    }
    const isSuccessor = record.instance?.name === manifest.name
    if (isSuccessor) succession.succeed(record, candidate, { instance, settings })
    else stage.settle(record, candidate, { instance, settings })
  }

  /**
   * Sets the version before up once more, and goes back to it. Where only its settings were others, it gets those;
   * different code gets the settings of now.
   * @throws GatewayError why that failed, or the signal's reason: then what served before serves on
   */
  async recall(record: PluginRecord, reason: RollbackReason, signal: AbortSignal): Promise<void> {
    const { previous, release } = record
    if (previous === undefined || release === undefined) {
      throw new GatewayError("plugin_conflict", `there is no earlier version of plugin "${record.name}"`)
    }
    const candidate = await this.#open(record, previous, signal)
    let instance: PluginInstance | undefined
    try {
      const settings = isSameCode(previous, release)
        ? previous.settings
        : this.#options.entry(candidate.manifest.name)
      instance = await this.#setUp(record, candidate, settings, signal)
      signal.throwIfAborted()
      if (record.previous !== previous) {
        throw new GatewayError("plugin_conflict", `plugin "${record.name}" changed while it was rolled back`)
      }
      this.#options.succession.recall(record, candidate, { instance, settings }, reason)
    } catch (thrown) {
      await instance?.dispose()
      candidate.module.dispose()
      throw signal.aborted ? signal.reason : thrown
    }
  }

  #giveUp(record: PluginRecord, candidate: Candidate, signal: AbortSignal, thrown: unknown): unknown {
    candidate.module.dispose()
    if (!signal.aborted) return this.#options.stage.fail(record, thrown, candidate)
    this.#options.roster.release(record)
    return signal.reason
  }

  async #setUp(
    record: PluginRecord,
    { definition, module, manifest, artefact, conduct, onLateError }: Candidate,
    settings: PluginSettings | undefined,
    signal: AbortSignal,
  ): Promise<PluginInstance> {
    const { services, roster } = this.#options
    const obstacle = roster.misfit(manifest) ?? unsupported(manifest, settings)
    if (obstacle !== undefined) throw obstacle
    const stats = this.#options.stats.of(manifest.name)
    const { source, files } = record
    const instance = await this.#limited(() =>
      PluginInstance.create({
        definition,
        module,
        artefact,
        source,
        files,
        settings,
        services,
        stats,
        conduct,
        onLateError,
        signal,
      }),
    )
    const serves = (live: PluginInstance) => roster.owner(live.name)?.instance === live
    const { breaker: fallback = DEFAULT_BREAKER, clock, log } = services
    fitBreaker(instance, {
      entry: settings?.breaker,
      fallback,
      clock,
      log,
      metrics: this.#options.metrics,
      serves,
    })
    return instance
  }
}

/** What a plugin calls by itself in a worker, the gateway would have to call in it: a stream, or a request. */
function unsupported(
  { name, type }: PluginManifest,
  settings: PluginSettings | undefined,
): GatewayError | undefined {
  if (settings?.isolation !== "worker" || type !== "provider") return undefined
  return new GatewayError(
    "plugin_unsupported",
    `plugins.configs.${name}.isolation is "worker", which a provider plugin cannot have, because its streams cannot leave a worker; middleware, router, cache, auth, monitoring and transform plugins can. Set it to "inline"`,
  )
}
