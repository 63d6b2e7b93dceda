/**
 * Brings one plugin's code to life and takes it out of service. All that a request can see changes in
 * `#settle` and `stop`, which are synchronous: between two of them the set of plugins is consistent.
 */
import { GatewayError, messageOf } from "../errors.ts"
import { DEFAULT_BREAKER } from "./breaker.ts"
import type { PluginBuilder } from "./build.ts"
import { Conduct } from "./conduct.ts"
import type { PluginLoadEvent, PluginState } from "./contract.ts"
import type { Generations } from "./generations.ts"
import { guard } from "./guard.ts"
import { PluginInstance, type PluginSettings } from "./instance.ts"
import { createLateErrorHandler } from "./late-errors.ts"
import { createLimiter, type Limiter } from "./limiter.ts"
import { loadPlugin } from "./loader.ts"
import { isOfLock, type PluginLock } from "./plugin-lock.ts"
import type { PluginMetrics } from "./plugin-metrics.ts"
import type { Candidate, PluginManifest, PluginRecord, RecordedError } from "./record.ts"
import type { Roster } from "./roster.ts"
import type { PluginServices } from "./setup-context.ts"
import type { StatsBook } from "./stats.ts"

type Change = PluginLoadEvent["change"]

/** Whether to read code again: in any case, where its files changed, or where nothing of it serves. */
export type ReadWhen = "always" | "if-changed" | "if-down"

interface LauncherOptions {
  readonly services: PluginServices
  readonly roster: Roster
  readonly generations: Generations
  readonly builder: PluginBuilder
  readonly lock: PluginLock
  readonly stats: StatsBook
  readonly metrics: PluginMetrics
  /** Plugins that are read or set up at a time. */
  readonly maxConcurrent: number
  readonly entry: (name: string) => PluginSettings | undefined
  readonly onEvent: (event: PluginLoadEvent) => void
  /** A plugin's counts are not wanted any more. */
  readonly onForget: (plugin: string) => void
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
    const { services, builder, lock, roster } = this.#options
    if (!roster.has(record)) return
    const { log, clock } = services
    const stats = () =>
      roster.owner(record.name) === record ? this.#options.stats.of(record.name) : undefined
    const conduct = new Conduct()
    const onLateError = createLateErrorHandler({ record, log, clock, conduct, stats })
    const options = { builder, lock, services, signal, conduct, onLateError }
    try {
      record.offer(await this.#limited(() => loadPlugin(record, options)))
    } catch (thrown) {
      throw signal.aborted ? signal.reason : this.fail(record, thrown)
    }
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
      return this.fail(record, thrown)
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
    const { roster } = this.#options
    if (!roster.has(record)) return record.dropCandidate()
    const conflict = this.claim(record)
    if (conflict !== undefined) throw conflict
    const candidate = record.takeCandidate()
    if (candidate === undefined) return
    const { manifest, module } = candidate
    if (!roster.isEnabled(record, manifest.name)) {
      module.dispose()
      return this.#settle(record, candidate)
    }
    let instance: PluginInstance
    try {
      instance = await this.#setUp(record, candidate, signal)
    } catch (thrown) {
      throw this.#giveUp(record, candidate, signal, thrown)
    }
    // The world may have changed during the setup. Nothing may come between this look and the swap.
    const unmet = roster.unmet(manifest)
    if (signal.aborted || unmet !== undefined) {
      await instance.dispose()
      throw this.#giveUp(record, candidate, signal, unmet)
    }
    this.#settle(record, candidate, instance)
  }

  #giveUp(record: PluginRecord, candidate: Candidate, signal: AbortSignal, thrown: unknown): unknown {
    candidate.module.dispose()
    if (!signal.aborted) return this.fail(record, thrown, candidate)
    this.#options.roster.release(record)
    return signal.reason
  }

  async #setUp(record: PluginRecord, candidate: Candidate, signal: AbortSignal): Promise<PluginInstance> {
    const { services, roster, entry } = this.#options
    const { definition, module, manifest, artefact, conduct, onLateError } = candidate
    const settings = entry(manifest.name)
    record.settings = settings
    const obstacle = roster.unmet(manifest) ?? this.#misfit(manifest) ?? unsupported(manifest, settings)
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
    guard(instance, {
      entry: settings?.breaker,
      fallback,
      clock,
      log,
      metrics: this.#options.metrics,
      serves,
    })
    return instance
  }

  #misfit(manifest: PluginManifest): GatewayError | undefined {
    const [broken] = this.#options.roster.brokenBy(manifest)
    if (broken === undefined) return undefined
    const { name, version } = manifest
    return new GatewayError(
      "plugin_dependency_failed",
      `plugin "${name}" ${version} is not the version of "${name}" that plugin "${broken.name}" needs; update "${broken.name}" with it`,
    )
  }

  /** Makes a read plugin known under its name, with what serves of it, in the place of what did before. */
  #settle(record: PluginRecord, { manifest, artefact, print }: Candidate, instance?: PluginInstance): void {
    const { roster, generations, metrics, services } = this.#options
    const { name: oldName, instance: superseded } = record
    const isKnown = roster.owner(oldName) === record && oldName === manifest.name
    const displaced = roster.own(record, manifest.name)
    const removed = [superseded, displaced?.instance].filter((old) => old !== undefined)
    for (const old of removed) metrics.stops(old)
    if (displaced !== undefined) this.#displace(displaced)
    record.manifest = manifest
    record.artefact = artefact
    record.servingPrint = print
    record.error = undefined
    record.instance = instance
    if (instance !== undefined) {
      record.loadedAtMs = services.clock.now()
      record.generation = generations.replace(removed, instance)
      metrics.serves(instance)
    } else if (removed.length > 0) generations.replace(removed)
    this.#enter(record, instance === undefined ? restingState(record) : "active")

    if (superseded !== undefined && oldName !== manifest.name) this.#tell(superseded, "unloaded")
    this.#forgetUnused(oldName)
    if (instance !== undefined) this.#tell(instance, changeOf(removed, isKnown, manifest.name))
    this.#stopOrphans()
  }

  /** Another source has taken the name of this one. */
  #displace(record: PluginRecord): void {
    record.instance = undefined
    record.dropCandidate()
    if (record.isFileGone) this.#options.roster.remove(record)
    else record.isShadowed = true
  }

  /** Takes plugins out of service in one step, and with them those that cannot stay without them. */
  stop(records: readonly PluginRecord[], change: "disabled" | "unloaded", reason?: string): void {
    const { roster, generations, metrics } = this.#options
    const orphans = roster.orphans(records)
    const stopped = [...orphans, ...records].flatMap((record) => {
      const { instance } = record
      record.instance = undefined
      return instance === undefined
        ? []
        : [{ instance, change: orphans.includes(record) ? "disabled" : change }]
    })
    if (stopped.length > 0) generations.replace(stopped.map(({ instance }) => instance))
    for (const record of records) {
      if (reason !== undefined) record.error = this.#recorded(new GatewayError("plugin_failed", reason))
      else if (record.manifest !== undefined) record.error = undefined
      if (change === "unloaded") {
        record.dropCandidate()
        roster.remove(record)
      }
      this.#enter(record, change === "unloaded" ? "unloaded" : restingState(record))
    }
    for (const record of orphans) this.#note(record, record.manifest && roster.unmet(record.manifest))
    for (const { instance, change } of stopped) {
      metrics.stops(instance)
      this.#tell(instance, change)
    }
    for (const { name } of records) this.#forgetUnused(name)
  }

  #stopOrphans(): void {
    this.stop([], "disabled")
  }

  /** Records why a plugin cannot be loaded. What serves, serves on. */
  fail(record: PluginRecord, thrown: unknown, candidate = record.takeCandidate()): GatewayError {
    this.#options.roster.release(record)
    candidate?.module.dispose()
    if (candidate !== undefined && record.instance === undefined) {
      const { name } = record
      record.manifest = candidate.manifest
      this.#options.roster.rename(record, candidate.manifest.name)
      this.#forgetUnused(name)
    }
    const error = this.#note(record, thrown)
    this.#stopOrphans()
    return error
  }

  #note(record: PluginRecord, thrown: unknown): GatewayError {
    const { services, metrics } = this.#options
    const error = toLoadError(thrown, record)
    const isNews = record.error?.message !== error.message
    record.error = this.#recorded(error)
    if (record.instance === undefined) this.#enter(record, "error")
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

  #recorded({ code, message, details }: GatewayError): RecordedError {
    return { code, message, details, at: this.#options.services.clock.now() }
  }

  #enter(record: PluginRecord, state: PluginState): void {
    const { roster, metrics } = this.#options
    record.state = state
    if (roster.find(record.name) === record) metrics.state(record.name, state)
  }

  /** Drops the counts of a name that nobody has any more; another file may have it, or want it. */
  #forgetUnused(plugin: string): void {
    if (this.#options.roster.find(plugin) !== undefined) return
    this.#options.stats.forget(plugin)
    this.#options.metrics.forget(plugin)
    this.#options.onForget(plugin)
  }

  #tell({ name: plugin, version, type }: PluginInstance, change: Change): void {
    const { services, generations, metrics, onEvent } = this.#options
    const { generation } = generations.current
    metrics.generation(generation)
    if (change === "reloaded") metrics.reload(plugin, "success")
    services.log.info(`plugin ${change}`, { plugin, version, generation })
    onEvent({ plugin, version, type, change, generation, timestamp: services.clock.now() })
  }
}

function changeOf(superseded: readonly PluginInstance[], isKnown: boolean, name: string): Change {
  if (superseded.some((instance) => instance.name === name)) return "reloaded"
  return isKnown ? "enabled" : "loaded"
}

function restingState({ loadedAtMs, manifest }: PluginRecord): PluginState {
  if (manifest === undefined) return "error"
  return loadedAtMs === undefined ? "loaded" : "inactive"
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

function toLoadError(thrown: unknown, record: PluginRecord): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  return new GatewayError("plugin_load_failed", `${record.source}: ${messageOf(thrown)}`, { cause: thrown })
}
