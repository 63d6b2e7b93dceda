/**
 * How one version of a plugin follows another. A new one replaces the one that serves, or becomes a canary beside it.
 * What it replaced is held, out of service and alive, until the new one has passed its probation: so going back is one
 * synchronous step, too.
 */
import { GatewayError } from "../errors.ts"
import type { Chronicle } from "./chronicle.ts"
import type { PluginInstance, PluginSettings } from "./instance.ts"
import type { PluginMetrics } from "./plugin-metrics.ts"
import { Probation, type ProbationRule, type Verdict } from "./probation.ts"
import { type Candidate, isSameRelease, type PluginRecord, type Release } from "./record.ts"
import { isKeyOf, type ReleaseKey, type Step, stepBetween } from "./release-key.ts"
import type { Roster } from "./roster.ts"
import type { PluginServices } from "./setup-context.ts"
import type { Stage, Started } from "./stage.ts"

interface SuccessionOptions {
  readonly services: PluginServices
  readonly roster: Roster
  readonly stage: Stage
  readonly chronicle: Chronicle
  readonly metrics: PluginMetrics
  readonly entry: (name: string) => PluginSettings | undefined
  /** For plugins whose settings do not say. */
  readonly probation: () => ProbationRule | undefined
  /** Told of a version that was taken back without anybody asking for it. */
  readonly onTakenBack: (plugin: string, step: Step, reason: string) => void
}

export type RollbackReason = "automatic" | "requested"

export class Succession {
  readonly #options: SuccessionOptions

  constructor(options: SuccessionOptions) {
    this.#options = options
  }

  /** Brings in a new version of a plugin that serves: as a canary where the configuration wants one. */
  succeed(record: PluginRecord, candidate: Candidate, started: Started): void {
    const { roster, stage, chronicle, metrics, entry } = this.#options
    const { instance } = started
    roster.own(record, candidate.manifest.name)
    record.error = undefined
    const release = stage.release(candidate, started)
    const share = entry(record.name)?.canary
    const probation = this.#watch(record, instance)
    if (share === undefined) {
      this.#replace(record, release, instance, probation)
      chronicle.tell(instance, "reloaded")
    } else {
      record.dropCanary()
      record.canary = { release, instance, share, probation }
      metrics.countAs("canary", instance)
      stage.show(record)
      chronicle.tell(instance, "canary_started")
    }
    stage.stopOrphans()
  }

  /** Which version is the canary. @throws GatewayError `plugin_conflict` where there is none */
  promotable({ canary, release, name }: PluginRecord): ReleaseKey {
    if (canary !== undefined && release !== undefined) return stepBetween(canary.release, release).from
    const message = `plugin "${name}" has no canary; set plugins.configs.${name}.canary and load a new version`
    throw new GatewayError("plugin_conflict", message)
  }

  /**
   * Puts the canary in the place of what serves.
   * @throws GatewayError `plugin_conflict` where it is not the canary, or does not fit to the other plugins
   */
  promote(record: PluginRecord, wanted: ReleaseKey): void {
    const { stage, chronicle } = this.#options
    const { canary, name } = record
    if (canary === undefined || !isKeyOf(wanted, canary.release)) {
      const message = `plugin "${name}" has no version ${wanted.version} that is a canary`
      throw new GatewayError("plugin_conflict", message)
    }
    this.#assertFits(canary.release)
    record.canary = undefined
    this.#replace(record, canary.release, canary.instance, canary.probation)
    chronicle.tell(canary.instance, "promoted")
    stage.stopOrphans()
  }

  /** Follows the configuration: another share of the requests, or none any more, which promotes the canary. */
  followShare(record: PluginRecord): void {
    const { stage, services, entry } = this.#options
    const { canary, name: plugin } = record
    const share = entry(plugin)?.canary
    if (canary === undefined || canary.share === share) return
    if (share !== undefined) {
      record.canary = { ...canary, share }
      stage.show(record)
      return
    }
    const { version } = canary.instance
    const reason = `plugins.configs.${plugin}.canary was removed`
    try {
      this.promote(record, this.promotable(record))
      services.log.info("a canary was promoted by the configuration", { plugin, version, reason })
    } catch (error) {
      services.log.error("a canary could not be promoted; it stays one", { plugin, version, reason, error })
    }
  }

  /** What a rollback would do now. @throws GatewayError `plugin_conflict` where there is no version to go back to */
  wayBack(record: PluginRecord): Step {
    const { canary, release, previous, name } = record
    if (release !== undefined && canary !== undefined) return stepBetween(canary.release, release)
    if (release !== undefined && previous !== undefined) return stepBetween(release, previous)
    const message = `there is no earlier version of plugin "${name}" to go back to`
    throw new GatewayError("plugin_conflict", message)
  }

  /**
   * Drops the canary, else goes back to the version that is held.
   * @returns false where that version has to be set up once more
   * @throws GatewayError `plugin_conflict` where this is not the way back, or what it leads to does not fit any more
   */
  rollBack(record: PluginRecord, { from, to }: Step, reason: RollbackReason): boolean {
    const { canary, release, held, previous, name } = record
    if (isKeyOf(from, canary?.release) && isKeyOf(to, release)) {
      this.#dropCanary(record, reason)
      return true
    }
    if (previous === undefined || !isKeyOf(from, release) || !isKeyOf(to, previous)) {
      const [serves, before] = [release, previous].map((known) => known?.manifest.version ?? "none")
      throw new GatewayError(
        "plugin_conflict",
        `plugin "${name}" cannot go back from version ${from.version} to ${to.version}: the version that serves is ${serves}, and the one before it ${before}`,
      )
    }
    this.#assertFits(previous)
    if (held !== undefined) this.#restore(record, previous, held, reason)
    return held !== undefined
  }

  /** Goes back to the version before, which was set up once more. @throws GatewayError `plugin_conflict` */
  recall(record: PluginRecord, candidate: Candidate, started: Started, reason: RollbackReason): void {
    this.#assertFits(candidate)
    this.#options.roster.release(record)
    this.#restore(record, this.#options.stage.release(candidate, started), started.instance, reason)
  }

  /** Takes a version back at once. @returns false where there is no other one that could serve */
  withdraw(record: PluginRecord, instance: PluginInstance): boolean {
    return this.#takeBack(record, instance, "failed")
  }

  /** Nothing has to be set up for the settings as they are now: what serves has them. */
  keep(record: PluginRecord, settings: PluginSettings | undefined): void {
    const { release } = record
    if (record.canary !== undefined) this.#dropCanary(record, "requested")
    record.settings = settings
    record.error = undefined
    if (release !== undefined) record.release = { ...release, isRecalled: false }
  }

  // -------------------------------------------------------------------------------------------------

  /**
   * Puts a version in the place of the one that serves. What to go back to is the last good one: that which served, if
   * this is a change, and it was not on probation itself.
   */
  #replace(
    record: PluginRecord,
    release: Release,
    instance: PluginInstance,
    probation: Probation | undefined,
  ): void {
    const isChange = record.release !== undefined && !isSameRelease(record.release, release)
    if (record.probation === undefined && isChange) {
      record.previous = record.release
      record.held = record.instance
    }
    record.dropCanary()
    record.probation?.end()
    record.probation = probation
    if (record.probation === undefined || record.held === undefined) endProbation(record)
    this.#options.stage.serve(record, release, instance)
    this.#options.stage.show(record)
  }

  #watch(record: PluginRecord, instance: PluginInstance): Probation | undefined {
    const { services, entry, probation } = this.#options
    const rule = entry(record.name)?.probation ?? probation()
    if (rule === undefined || rule === false) return undefined
    const onVerdict = (verdict: Verdict) =>
      services.moduleHost.outside(() => this.#judge(record, instance, verdict))
    return new Probation({ rule, conduct: instance.conduct, onVerdict })
  }

  #judge(record: PluginRecord, instance: PluginInstance, verdict: Verdict): void {
    const { canary } = record
    const { calls, failures } = instance.conduct
    const what =
      failures > calls ? `failed ${failures} times in ${calls} calls` : `failed ${failures} of ${calls} calls`
    if (canary?.instance === instance) canary.probation = undefined
    else if (record.instance !== instance) return
    if (verdict === "failed" && this.#takeBack(record, instance, what)) return
    if (record.instance !== instance) return
    endProbation(record)
    this.#options.stage.show(record)
  }

  /** Goes back to what can serve in the place of a version that fails. @returns false where there is nothing */
  #takeBack(record: PluginRecord, instance: PluginInstance, what: string): boolean {
    const { chronicle, roster, services, onTakenBack } = this.#options
    const { canary, previous, held, release, name: plugin } = record
    const isCanary = canary?.instance === instance
    const failed = isCanary ? canary.release : release
    const back = isCanary ? release : held && previous
    if (failed === undefined || back === undefined || !(isCanary || record.instance === instance))
      return false
    const { version } = instance
    const other = back.manifest.version
    const last = `Last: ${instance.conduct.lastFailure}`
    const misfit = isCanary ? undefined : roster.misfit(back.manifest)
    if (misfit !== undefined) {
      const reason = `version ${version} ${what}, but ${other} does not fit any more: ${misfit.message}. ${last}`
      services.log.error("a plugin cannot be rolled back; its new version serves on", { plugin, reason })
      return false
    }
    const step = stepBetween(failed, back)
    if (isCanary) this.#dropCanary(record, "automatic")
    else if (held !== undefined) this.#restore(record, back, held, "automatic")
    const reason = `version ${version} ${what} and was taken back; ${other} serves again. ${last}`
    chronicle.tookBack(record, version, reason)
    onTakenBack(plugin, step, reason)
    return true
  }

  #dropCanary(record: PluginRecord, reason: RollbackReason): void {
    const { stage, chronicle, metrics } = this.#options
    record.rejectCanary()
    record.error = undefined
    stage.show(record)
    metrics.rollback(record.name, reason)
    if (record.instance !== undefined) chronicle.tell(record.instance, "rolled_back")
  }

  #restore(record: PluginRecord, release: Release, instance: PluginInstance, reason: RollbackReason): void {
    const { stage, metrics, chronicle } = this.#options
    endProbation(record)
    record.rejected = record.print ?? record.release?.print
    record.previous = undefined
    record.error = undefined
    stage.serve(record, { ...release, isRecalled: true }, instance)
    stage.show(record)
    metrics.rollback(record.name, reason)
    chronicle.tell(instance, "rolled_back")
    stage.stopOrphans()
  }

  #assertFits({ manifest }: Pick<Release, "manifest">): void {
    const misfit = this.#options.roster.misfit(manifest)
    if (misfit === undefined) return
    const message = `plugin "${manifest.name}" cannot change to version ${manifest.version}: ${misfit.message}`
    throw new GatewayError("plugin_conflict", message, { cause: misfit })
  }
}

/** What serves is on its own from now on. The next `show` lets go of what was held. */
function endProbation(record: PluginRecord): void {
  record.probation?.end()
  record.probation = undefined
  record.held = undefined
}
