import { GatewayError } from "../errors.ts"
import { closest } from "../protocol/similar.ts"
import { entryFrom, type LockEntry } from "../source/lock.ts"
import { describePlugin, type PluginInfo, type PluginIntegrityInfo } from "./plugin-info.ts"
import type { PluginLock } from "./plugin-lock.ts"
import type { PluginRecord } from "./record.ts"
import type { Roster } from "./roster.ts"
import type { StatsBook } from "./stats.ts"

export interface LoadReport {
  readonly active: readonly string[]
  readonly disabled: readonly string[]
  readonly failed: readonly { readonly name: string; readonly source: string; readonly message: string }[]
}

/** A plugin as `plugins.lock` lists it. */
export interface LockablePlugin {
  readonly name: string
  /** What the lock calls its source. */
  readonly source: string
  /** Undefined where it could not be read. */
  readonly entry: LockEntry | undefined
  readonly error: string | undefined
}

interface CatalogueOptions {
  readonly roster: Roster
  readonly stats: StatsBook
  readonly lock: PluginLock
}

/** What can be said about the plugins, for people and for the admin API. */
export class Catalogue {
  readonly #roster: Roster
  readonly #stats: StatsBook
  readonly #lock: PluginLock

  constructor({ roster, stats, lock }: CatalogueOptions) {
    this.#roster = roster
    this.#stats = stats
    this.#lock = lock
  }

  /** @throws GatewayError `plugin_not_found` */
  find(name: string): PluginRecord {
    const record = this.#roster.find(name)
    if (record !== undefined) return record
    const known = this.#records().map((other) => other.name)
    const [similar] = closest(name, known)
    const hint = similar === undefined ? "" : `; did you mean "${similar}"?`
    throw new GatewayError("plugin_not_found", `no plugin is called "${name}"${hint}`)
  }

  info(record: PluginRecord): PluginInfo {
    const { manifest, name } = record
    return describePlugin({
      record,
      integrity: this.#integrity(record),
      isEnabled: this.#roster.isEnabled(record),
      stats: this.#stats.of(name),
      dependencies: manifest === undefined ? {} : this.#roster.needsOf(manifest).dependencies,
    })
  }

  /** Everything that the gateway does not bring itself, sorted as in `list`. */
  lockable(): readonly LockablePlugin[] {
    const records = this.#records().filter(({ isBundled }) => !isBundled)
    return records.toSorted(byNameAndSource).map((record) => {
      const { name, manifest, print, error } = record
      const source = this.#lock.sourceOf(record)
      const isRead = manifest !== undefined && print !== undefined && error === undefined
      const entry = isRead ? entryFrom(manifest.version, source, print) : undefined
      return { name, source, entry, error: error?.message }
    })
  }

  /** Of what serves; else of what was read last. */
  #integrity(record: PluginRecord): PluginIntegrityInfo {
    const print = record.instance === undefined ? record.print : record.release?.print
    if (print === undefined) return { sha256: null, locked: null }
    return { sha256: print.hash, locked: this.#lock.isAsListed(record, print) }
  }

  /** Sorted by name, then by source. */
  list(): readonly PluginInfo[] {
    return this.#records()
      .toSorted(byNameAndSource)
      .map((record) => this.info(record))
  }

  report(): LoadReport {
    const plugins = this.list()
    const namesOf = (...states: readonly string[]) =>
      plugins.filter(({ state }) => states.includes(state)).map(({ name }) => name)
    return {
      active: namesOf("active"),
      disabled: namesOf("loaded", "inactive"),
      failed: plugins.flatMap(({ name, source, error }) =>
        error === null ? [] : [{ name, source, message: error.message }],
      ),
    }
  }

  /** Without those that stand behind another, and those that are being read for the first time. */
  #records(): readonly PluginRecord[] {
    const records = this.#roster.records()
    return records.filter(
      ({ manifest, error, isShadowed }) => !isShadowed && (manifest ?? error) !== undefined,
    )
  }
}

function byNameAndSource(a: PluginRecord, b: PluginRecord): number {
  return a.name.localeCompare(b.name) || a.source.localeCompare(b.source)
}
