/**
 * The plugins of the gateway: what is loaded, what serves, and the operations on it.
 *
 * A plugin that is switched off is read and checked, so that the admin sees what it is, but its `setup` does
 * not run: a plugin that is off holds no timers, connections or memory. `setup` runs when it is switched on;
 * switching it off disposes it when its last call is done. So the states are:
 *
 * - `loaded`: known and switched off, and never set up so far
 * - `active`: serves. A failed reload leaves it active, and `error` says what failed
 * - `inactive`: switched off after it has served
 * - `error`: switched on, but it could not be loaded; or its file could not be read. Tried again when the file
 *   or its configuration changes, when what it needs becomes active, and on enable or reload
 * - `unloaded`: gone
 *
 * Code is read and set up in turn for each plugin, whoever asks; a plugin that is slow there delays no other,
 * and no request. What requests see changes in one synchronous step (`stage.ts`); how one version follows another,
 * and how it is taken back, is in `succession.ts`.
 */
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import type { TObject } from "@sinclair/typebox"
import type { Clock } from "../clock.ts"
import { GatewayError } from "../errors.ts"
import { PluginBuilder } from "../source/build.ts"
import type { StateStore } from "../state/store.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { MetricStore } from "../telemetry/store.ts"
import type { BreakerSettings } from "./breaker.ts"
import type { CallRecorder } from "./call-recorder.ts"
import { Catalogue, type LoadReport, type LockablePlugin } from "./catalogue.ts"
import { Chronicle } from "./chronicle.ts"
import type { CacheEvent, Metric, PluginLoadEvent, PluginState, PluginType } from "./contract.ts"
import { Generations } from "./generations.ts"
import { isSameSetup, type PluginInstance, type PluginSettings } from "./instance.ts"
import { Launcher, type ReadWhen } from "./launcher.ts"
import { createLimiter } from "./limiter.ts"
import type { ModuleHost } from "./module-host.ts"
import type { PluginInfo } from "./plugin-info.ts"
import { PluginLock } from "./plugin-lock.ts"
import { PluginMetrics } from "./plugin-metrics.ts"
import type { PointBook } from "./point.ts"
import type { ProbationRule } from "./probation.ts"
import type { PluginManifest, PluginRecord } from "./record.ts"
import { isKeyOf, type ReleaseKey, type Step } from "./release-key.ts"
import { Rollout } from "./rollout.ts"
import { type Overrides, Roster } from "./roster.ts"
import type { Snapshot } from "./snapshot.ts"
import { type BundledPlugin, PluginSources } from "./sources.ts"
import { Stage } from "./stage.ts"
import { StatsBook } from "./stats.ts"
import { Succession } from "./succession.ts"

interface RegistryOptions {
  readonly log: Logger
  readonly clock: Clock
  readonly state: StateStore
  readonly metrics: MetricStore
  readonly points: PointBook
  readonly moduleHost: ModuleHost
  readonly directory: string
  readonly bundled: readonly BundledPlugin[]
  /** Packages in the directory's node_modules that are plugins, as `name@1.2.3`. */
  readonly packages: () => readonly string[]
  /** Nothing of the directory loads that is not as its lock says. */
  readonly isLocked: boolean
  readonly maxPlugins: number
  /** Plugins that are read, or set up, at a time. */
  readonly maxConcurrent: number
  readonly setupTimeoutMs: number
  readonly drainTimeoutMs: number
  /** For plugins that say nothing of it. */
  readonly breaker?: BreakerSettings | false | undefined
  /** Starts the program of `plugin-worker.ts`. */
  readonly spawnWorker?: (() => Worker) | undefined
  /** What the configuration says about a plugin now. */
  readonly entry: (name: string) => PluginSettings | undefined
  /** The probation of new versions, for plugins whose settings do not say; none where it is undefined. */
  readonly probation: () => ProbationRule | undefined
  /** 0 to 1, evenly: what draws the requests of canaries. */
  readonly random: () => number
  /** Told of each new snapshot before anything of the old one goes. */
  readonly onSwap: (snapshot: Snapshot) => void
  readonly onEvent: (event: PluginLoadEvent) => void
  /** Told of a version that was taken back without anybody asking for it. */
  readonly onTakenBack: (plugin: string, step: Step, reason: string) => void
  readonly recorder?: CallRecorder | undefined
  readonly emitMetric: (plugin: string, metric: Metric) => void
  readonly emitCacheEvent: (event: CacheEvent) => void
}

interface ForceOptions {
  /** Stops the plugins that need this one too, in one step with it. */
  readonly force?: boolean
}

interface RollbackOptions {
  /** The only step that is done; where it was done before, nothing is. */
  readonly step?: Step | undefined
  /** Why another process took the version back by itself: shown as the plugin's error. */
  readonly reason?: string | undefined
}

interface DisableOptions extends ForceOptions {
  /** Shown as the plugin's error. */
  readonly reason?: string
}

export class PluginRegistry {
  readonly #options: RegistryOptions
  readonly #roster: Roster
  readonly #generations: Generations
  readonly #launcher: Launcher
  readonly #stage: Stage
  readonly #succession: Succession
  readonly #rollout: Rollout
  readonly #sources: PluginSources
  readonly #catalogue: Catalogue
  readonly #chronicle: Chronicle
  readonly #builder = new PluginBuilder()
  readonly #scan = createLimiter(1)
  #nextSync: Promise<void> | undefined
  #isStopping = false

  constructor(options: RegistryOptions) {
    const { watchdog } = options.points
    const services = { ...options, watchdog, directory: resolve(options.directory) }
    const metrics = new PluginMetrics(options.metrics)
    const stats = new StatsBook(options.clock)
    const roster = new Roster(options)
    const generations = new Generations(options)
    const onForget = (plugin: string) => options.points.forget(plugin)
    const lock = new PluginLock(services)
    const shared = { ...options, services, roster, generations, lock, stats, metrics, onForget }
    const chronicle = new Chronicle(shared)
    const stage = new Stage({ ...shared, chronicle })
    const succession = new Succession({ ...shared, chronicle, stage })
    const launcher = new Launcher({ ...shared, stage, succession, builder: this.#builder })
    this.#options = services
    this.#roster = roster
    this.#generations = generations
    this.#launcher = launcher
    this.#chronicle = chronicle
    this.#stage = stage
    this.#succession = succession
    this.#rollout = new Rollout({ roster, launcher, stage, clock: options.clock })
    this.#sources = new PluginSources({ ...services, lock, roster })
    this.#catalogue = new Catalogue({ roster, stats, lock })
  }

  // -------------------------------------------------------------------------------------------------
  // Reading: never waits

  get current(): Snapshot {
    return this.#generations.current
  }

  /** The current snapshot, held until the caller calls its `release`. */
  pin(): Snapshot {
    return this.#generations.pin()
  }

  /** The instance that serves under this name. */
  get(name: string): PluginInstance | undefined {
    return this.#roster.owner(name)?.instance
  }

  /** Whether a plugin of this type is meant to be there, active or not. */
  wants(type: PluginType): boolean {
    return this.#roster.wants(type)
  }

  /** @throws GatewayError `plugin_not_found` */
  getInfo(name: string): PluginInfo {
    return this.#catalogue.info(this.#catalogue.find(name))
  }

  /** The schema of a plugin's config; undefined where it takes none. @throws GatewayError `plugin_not_found` */
  configSchema(name: string): TObject | undefined {
    return this.#catalogue.find(name).manifest?.config
  }

  /** What each plugin that was built is made of, as the lock lists it. */
  lockable(): readonly LockablePlugin[] {
    return this.#catalogue.lockable()
  }

  /** Everything that is known, sorted by name. Of two files with one name both are shown, and the second one's error. */
  list(): readonly PluginInfo[] {
    return this.#catalogue.list()
  }

  /** What the admin has set against the configuration: what a process that starts later has to know. */
  overrides(): Overrides {
    return this.#roster.overrides()
  }

  // -------------------------------------------------------------------------------------------------
  // Loading

  /** Takes over what another process was told, before anything is loaded. */
  adopt(overrides: Overrides): void {
    this.#roster.adopt(overrides)
  }

  /** Loads the bundled plugins and those of the directory. A plugin that fails stops no other. */
  async loadAll(): Promise<LoadReport> {
    const { directory, log } = this.#options
    if (!existsSync(directory)) log.warn("the plugin directory does not exist yet", { directory })
    this.#sources.addBundled()
    await this.sync()
    return this.#catalogue.report()
  }

  /** Loads the bundled plugins only, for a gateway that is not to load its directory. */
  async loadBundled(): Promise<LoadReport> {
    const records = this.#sources.addBundled()
    await this.#asHost(() => this.#rollout.roll(records, "if-changed"))
    return this.#catalogue.report()
  }

  /**
   * Brings the plugins in line with the directory. Nothing happens to those whose files have not changed.
   * @throws GatewayError `plugin_load_failed` where the directory cannot be read
   */
  async sync(): Promise<void> {
    this.#nextSync ??= this.#asHost(async () => {
      const { changed, gone } = await this.#scan(() => {
        this.#nextSync = undefined
        return this.#sources.compare()
      })
      if (this.#isStopping) return
      // Where it is not known what it was read from, it may be being read for the first time.
      for (const record of changed) if (record.print !== undefined) record.cut("its files have changed again")
      for (const record of gone) record.cut("its file is gone")
      await this.#rollout.roll(changed, "if-changed", gone)
    })
    await this.#nextSync
  }

  /**
   * Loads a plugin from a file or folder, wherever that is; or a bundled one again, as `bundled:<name>`.
   * @throws GatewayError `plugin_conflict`, or why it cannot be loaded: nothing of it is kept then
   */
  async register(path: string): Promise<PluginInfo> {
    const record = await this.#sources.add(path)
    try {
      await this.#load(record, "always")
    } catch (thrown) {
      this.#asHost(() => this.#stage.stop([record], "unloaded"))
      throw thrown
    }
    return this.#catalogue.info(record)
  }

  /**
   * Takes a plugin out and forgets it. Its file is left out until it changes.
   * @throws GatewayError `plugin_not_found`; `plugin_conflict` where active plugins need it
   */
  async unregister(name: string, options: ForceOptions = {}): Promise<void> {
    this.#assertNotNeeded(this.#catalogue.find(name), options)
    await this.#sources.dismiss(this.#catalogue.find(name))
    const record = this.#catalogue.find(name)
    this.#assertNotNeeded(record, options)
    record.cut("it was removed")
    this.#asHost(() => this.#stage.stop([record], "unloaded"))
    await this.#wakeOthers()
  }

  /**
   * Switches a plugin on and sets it up; one whose loading failed is tried again, and one that its breaker switched
   * off is called again.
   * @throws GatewayError `plugin_not_found`; `plugin_conflict` where it lacks a plugin; or why it cannot be loaded
   */
  async enable(name: string): Promise<PluginInfo> {
    const record = this.#catalogue.find(name)
    record.instance?.breaker?.reset()
    await this.#load(record, "if-down", (manifest) => {
      const unmet = this.#roster.unmet(manifest)
      if (unmet !== undefined) throw new GatewayError("plugin_conflict", unmet.message)
      this.#roster.setEnabled(record, manifest.name, true)
    })
    return this.#catalogue.info(record)
  }

  /**
   * Switches a plugin off at once; it is disposed when its last call is done.
   * @throws GatewayError `plugin_not_found`; `plugin_conflict` where active plugins need it
   */
  disable(name: string, { reason, ...options }: DisableOptions = {}): PluginInfo {
    const record = this.#catalogue.find(name)
    this.#assertNotNeeded(record, options)
    this.#roster.setEnabled(record, name, false)
    record.cut("it was switched off")
    this.#asHost(() => this.#stage.stop([record], "disabled", reason))
    return this.#catalogue.info(record)
  }

  /**
   * Reads a plugin's code and settings again, changed or not, and puts the new version into service.
   * @throws GatewayError `plugin_not_found`, or why that failed; what served before serves on
   */
  async reload(name: string): Promise<PluginInfo> {
    const record = this.#catalogue.find(name)
    await this.#load(record, "always")
    return this.#catalogue.info(record)
  }

  /**
   * Goes back to the version before: at once where that is still alive, or where the new one is a canary. The file is
   * not read again until it changes, or a reload is asked for.
   * @throws GatewayError `plugin_not_found`, `plugin_conflict`, or why the version before cannot be set up once more
   */
  async rollback(name: string, { step, reason }: RollbackOptions = {}): Promise<PluginInfo> {
    const record = this.#catalogue.find(name)
    const { from, to } = step ?? this.#succession.wayBack(record)
    if (isKeyOf(to, record.release) && !isKeyOf(from, record.canary?.release)) {
      const isNews = record.reject(from.code)
      if (isNews && reason !== undefined) this.#chronicle.tookBack(record, from.version, reason)
      return this.#catalogue.info(record)
    }
    const cause = reason === undefined ? "requested" : "automatic"
    await this.#asHost(async () => {
      const isDone = this.#succession.rollBack(record, { from, to }, cause)
      record.interrupt("it was rolled back")
      record.dropCandidate()
      if (!isDone) await record.work((signal) => this.#launcher.recall(record, cause, signal))
      if (reason !== undefined) this.#chronicle.tookBack(record, from.version, reason)
    })
    await this.#wakeOthers()
    return this.#catalogue.info(record)
  }

  /** What `promote` would promote now. @throws GatewayError `plugin_not_found`, `plugin_conflict` where there is nothing */
  promotable(name: string): ReleaseKey {
    return this.#succession.promotable(this.#catalogue.find(name))
  }

  /** What `rollback` would do now. @throws GatewayError `plugin_not_found`, `plugin_conflict` where there is nothing */
  wayBack(name: string): Step {
    return this.#succession.wayBack(this.#catalogue.find(name))
  }

  /**
   * Puts the canary of a plugin in the place of the version that serves.
   * @param wanted the only version that is promoted; where it serves already, nothing is done
   * @throws GatewayError `plugin_not_found`; `plugin_conflict` where there is no canary, or it does not fit
   */
  async promote(name: string, wanted?: ReleaseKey): Promise<PluginInfo> {
    const record = this.#catalogue.find(name)
    const key = wanted ?? this.#succession.promotable(record)
    const isServing = !isKeyOf(key, record.canary?.release) && isKeyOf(key, record.release)
    if (!isServing) this.#asHost(() => this.#succession.promote(record, key))
    await this.#wakeOthers()
    return this.#catalogue.info(record)
  }

  /**
   * Takes a version that failed out of service at once: the one before serves again where there is one, else the plugin
   * is switched off. Nothing happens to a version that serves no new requests any more.
   */
  withdraw(instance: PluginInstance, reason: string): void {
    const record = this.#roster.owner(instance.name)
    if (record === undefined || this.#asHost(() => this.#succession.withdraw(record, instance))) return
    if (record.instance === instance) this.disable(instance.name, { reason, force: true })
  }

  /** Follows the configuration: switches plugins on and off, and sets those up anew whose settings changed. */
  async applyEntries(): Promise<void> {
    const roster = this.#roster
    roster.settleOverrides()
    const records = roster.records().filter((record) => roster.find(record.name) === record)
    const off = records.filter((record) => record.instance !== undefined && !roster.isEnabled(record))
    const changed = records.filter((record) => {
      if (!roster.isEnabled(record)) return false
      return RESTING.includes(record.state) || !this.#isSetUpFor(record)
    })
    await this.#asHost(() => {
      for (const record of records) this.#succession.followShare(record)
      for (const record of [...off, ...changed]) record.cut("its configuration changed")
      this.#stage.stop(off, "disabled")
      return this.#rollout.roll(changed, "for-settings")
    })
  }

  /**
   * Sets a plugin up for its settings as they are now, where that is still to be done. One that was gone back from
   * them stays as it is.
   * @throws GatewayError `plugin_not_found`, or why that failed; what served before serves on
   */
  async followEntry(name: string): Promise<void> {
    const record = this.#catalogue.find(name)
    const newest = record.canary?.release ?? record.release
    if (!this.#roster.isEnabled(record) || newest?.isRecalled || record.release?.isRecalled) return
    if (newest === undefined || !isSameSetup(this.#options.entry(name), newest.settings))
      await this.reload(name)
  }

  /** Whether a plugin was last set up for the settings as they are now, or what serves was: then it is left alone. */
  #isSetUpFor(record: PluginRecord): boolean {
    const settings = this.#options.entry(record.name)
    if (isSameSetup(settings, record.settings)) return true
    const { release, print, isBusy } = record
    if (isBusy || release === undefined || !isSameSetup(settings, release.settings)) return false
    if (release.print !== undefined && release.print.hash !== print?.hash) return false
    this.#asHost(() => this.#succession.keep(record, settings))
    return true
  }

  /** Stops everything, dependents first. All are tried; none may take longer than the setup timeout. */
  async shutdownAll(): Promise<void> {
    this.#isStopping = true
    const records = this.#roster.records()
    for (const record of records) {
      record.cut("the gateway is stopping")
      record.dropCandidate()
      this.#roster.remove(record)
      record.state = "unloaded"
    }
    await Promise.all(records.map((record) => record.work(async () => {})))
    await this.#generations.close()
    await this.#builder.close()
  }

  // -------------------------------------------------------------------------------------------------

  async #load(
    record: PluginRecord,
    when: ReadWhen,
    beforeLaunch?: (manifest: PluginManifest) => void,
  ): Promise<void> {
    await this.#asHost(() =>
      record.work(async (signal) => {
        await this.#launcher.read(record, when, signal)
        signal.throwIfAborted()
        try {
          if (record.plannedManifest !== undefined) beforeLaunch?.(record.plannedManifest)
        } catch (thrown) {
          record.dropCandidate()
          throw thrown
        }
        await this.#launcher.launch(record, signal)
      }),
    )
    await this.#wakeOthers()
  }

  /** Loads what this change makes possible, so that whoever asked for it sees all that came of it. */
  async #wakeOthers(): Promise<void> {
    if (!this.#isStopping) await this.#asHost(() => this.#rollout.wake())
  }

  /** As the host, not as the request or the plugin that asks: what is opened here outlives both. */
  #asHost<T>(fn: () => T): T {
    if (this.#isStopping) throw new GatewayError("shutting_down", "the gateway is stopping")
    return this.#options.moduleHost.outside(fn)
  }

  #assertNotNeeded(record: PluginRecord, { force = false }: ForceOptions): void {
    const dependents = this.#roster.orphans([record]).map(({ name }) => `"${name}"`)
    if (force || dependents.length === 0) return
    throw new GatewayError(
      "plugin_conflict",
      `plugin "${record.name}" is needed by ${dependents.join(", ")}; switch off what needs it first, or use force to stop that too`,
    )
  }
}

/** States in which a plugin that is switched off stays. */
const RESTING: readonly PluginState[] = ["loaded", "inactive"]
