/**
 * Who serves. All that a request can see changes in `show`, and each method here and in `succession.ts` is one
 * synchronous step: it changes the records, then shows requests the line-up that follows from them. Between two steps
 * the set of plugins is consistent.
 */
import { GatewayError } from "../errors.ts"
import type { Change, Chronicle } from "./chronicle.ts"
import type { PluginState } from "./contract.ts"
import type { Generations, Lineup } from "./generations.ts"
import type { PluginInstance, PluginSettings } from "./instance.ts"
import type { PluginMetrics } from "./plugin-metrics.ts"
import type { Candidate, PluginRecord, Release } from "./record.ts"
import type { Roster } from "./roster.ts"
import type { PluginServices } from "./setup-context.ts"

interface StageOptions {
  readonly services: PluginServices
  readonly roster: Roster
  readonly generations: Generations
  readonly chronicle: Chronicle
  readonly metrics: PluginMetrics
}

/** A candidate that was set up. */
export interface Started {
  readonly instance: PluginInstance
  readonly settings: PluginSettings | undefined
}

export class Stage {
  readonly #options: StageOptions

  constructor(options: StageOptions) {
    this.#options = options
  }

  /** Makes a read plugin known under its name, with what serves of it, in the place of what did before. */
  settle(record: PluginRecord, candidate: Candidate, started?: Started): void {
    const { roster, chronicle } = this.#options
    const { manifest } = candidate
    const { name: oldName } = record
    const isKnown = roster.owner(oldName) === record && oldName === manifest.name
    const displaced = roster.own(record, manifest.name)
    const replaced = displaced?.instance
    if (displaced !== undefined) this.#displace(displaced)
    const superseded = record.clear()
    record.manifest = manifest
    record.error = undefined
    if (started !== undefined) this.serve(record, this.release(candidate, started), started.instance)
    this.show(record)

    if (superseded !== undefined)
      chronicle.tell(superseded, oldName === manifest.name ? "disabled" : "unloaded")
    chronicle.forgetUnused(oldName)
    const change = replaced !== undefined ? "reloaded" : isKnown ? "enabled" : "loaded"
    if (started !== undefined) chronicle.tell(started.instance, change)
    this.stopOrphans()
  }

  /** Another source has taken the name of this one. */
  #displace(record: PluginRecord): void {
    record.clear()
    record.dropCandidate()
    if (record.isFileGone) this.#options.roster.remove(record)
    else record.isShadowed = true
  }

  /** Takes plugins out of service in one step, and with them those that cannot stay without them. */
  stop(records: readonly PluginRecord[], change: "disabled" | "unloaded", reason?: string): void {
    const { roster, chronicle } = this.#options
    const orphans = roster.orphans(records)
    const stopped = [...orphans, ...records].flatMap((record) => {
      const instance = record.clear()
      const told: Change = orphans.includes(record) ? "disabled" : change
      return instance === undefined ? [] : [{ instance, told }]
    })
    this.show()
    for (const record of records) {
      if (reason !== undefined) record.error = chronicle.recorded(new GatewayError("plugin_failed", reason))
      else if (record.manifest !== undefined) record.error = undefined
      if (change === "unloaded") {
        record.dropCandidate()
        roster.remove(record)
      }
      chronicle.enter(record, change === "unloaded" ? "unloaded" : stateOf(record))
    }
    for (const record of orphans)
      chronicle.loadFailed(record, record.manifest && roster.unmet(record.manifest))
    for (const { instance, told } of stopped) chronicle.tell(instance, told)
    for (const { name } of records) chronicle.forgetUnused(name)
  }

  stopOrphans(): void {
    if (this.#options.roster.orphans([]).length > 0) this.stop([], "disabled")
  }

  /** Records why a plugin cannot be loaded. What serves, serves on. */
  fail(record: PluginRecord, thrown: unknown, candidate = record.takeCandidate()): GatewayError {
    const { roster, chronicle } = this.#options
    roster.release(record)
    candidate?.module.dispose()
    if (candidate !== undefined && record.instance === undefined) {
      const { name } = record
      record.manifest = candidate.manifest
      roster.rename(record, candidate.manifest.name)
      chronicle.forgetUnused(name)
    }
    const error = chronicle.loadFailed(record, thrown)
    this.stopOrphans()
    return error
  }

  release({ manifest, artefact, print, isRecalled }: Candidate, { settings }: Started): Release {
    const loadedAtMs = this.#options.services.clock.now()
    return { manifest, artefact, print, isRecalled, settings, loadedAtMs }
  }

  /** Notes what serves. Requests see it with the next `show`. */
  serve(record: PluginRecord, release: Release, instance: PluginInstance): void {
    this.#options.metrics.countAs("stable", instance)
    record.instance = instance
    record.release = release
    record.manifest = release.manifest
    record.loadedAtMs = release.loadedAtMs
    record.generation = undefined
  }

  /** Shows requests the plugins as the records say. A canary that does not fit to them any more goes. */
  show(record?: PluginRecord): void {
    const { services, roster, generations, chronicle, metrics } = this.#options
    const unfit = roster.records().flatMap((other) => {
      const misfit = other.canary && roster.misfit(other.canary.release.manifest)
      return misfit === undefined ? [] : [{ other, misfit }]
    })
    for (const { other } of unfit) other.rejectCanary()
    const generation = generations.show(lineupOf(roster.records()))
    if (record !== undefined) {
      if (record.instance !== undefined) record.generation ??= generation
      chronicle.enter(record, stateOf(record))
    }
    for (const { other, misfit } of unfit) {
      services.log.warn("a canary does not fit to the other plugins any more", {
        plugin: other.name,
        reason: misfit.message,
      })
      chronicle.enter(other, stateOf(other))
      metrics.rollback(other.name, "automatic")
      if (other.instance !== undefined) chronicle.tell(other.instance, "rolled_back")
    }
  }
}

function lineupOf(records: readonly PluginRecord[]): Lineup {
  return {
    serving: records.flatMap(({ instance }) => instance ?? []),
    canaries: records.flatMap(({ canary }) => canary ?? []),
    held: records.flatMap(({ held }) => held ?? []),
  }
}

function stateOf({ instance, loadedAtMs, manifest }: PluginRecord): PluginState {
  if (instance !== undefined) return "active"
  if (manifest === undefined) return "error"
  return loadedAtMs === undefined ? "loaded" : "inactive"
}
