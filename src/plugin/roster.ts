/** All plugins that are known: who has which name, who is switched on, and who lacks what. */
import { GatewayError } from "../errors.ts"
import type { PluginType } from "./contract.ts"
import type { PluginSettings } from "./instance.ts"
import type { Ordered } from "./order.ts"
import type { PluginManifest, PluginRecord } from "./record.ts"
import { ANY_VERSION, isVersionRange, satisfies } from "./version.ts"

interface RosterOptions {
  readonly maxPlugins: number
  readonly entry: (name: string) => PluginSettings | undefined
}

/** What the admin has set against the configuration, as plain data. */
export interface Overrides {
  /** By the name of the plugin: whether it was switched on or off. */
  readonly enabled: Readonly<Record<string, boolean>>
}

export class Roster {
  readonly #options: RosterOptions
  readonly #bySource = new Map<string, PluginRecord>()
  /** Whatever was of a type at some time: the few that requests have to look at. */
  readonly #byType = new Map<PluginType, Set<PluginRecord>>()
  readonly #owners = new Map<string, PluginRecord>()
  /** Names of plugins that are being set up. */
  readonly #reserved = new Map<string, PluginRecord>()
  /** Plugins that the admin switched on or off against the configuration. */
  readonly #overrides = new Map<string, boolean>()

  constructor(options: RosterOptions) {
    this.#options = options
  }

  records(): readonly PluginRecord[] {
    return [...this.#bySource.values()]
  }

  at(source: string): PluginRecord | undefined {
    return this.#bySource.get(source)
  }

  has(record: PluginRecord): boolean {
    return this.#bySource.get(record.source) === record
  }

  add(record: PluginRecord): PluginRecord {
    this.#bySource.set(record.source, record)
    record.onType = (type) => this.#ofType(type).add(record)
    if (record.manifest !== undefined) record.onType(record.manifest.type)
    return record
  }

  remove(record: PluginRecord): void {
    this.release(record)
    if (this.#owners.get(record.name) === record) this.#owners.delete(record.name)
    if (this.has(record)) this.#bySource.delete(record.source)
    for (const records of this.#byType.values()) records.delete(record)
    record.onType = undefined
  }

  #ofType(type: PluginType): Set<PluginRecord> {
    const records = this.#byType.get(type) ?? new Set()
    this.#byType.set(type, records)
    return records
  }

  /** The plugin that has this name; else a broken one whose file is called so. */
  find(name: string): PluginRecord | undefined {
    return (
      this.#owners.get(name) ?? this.records().find((record) => record.name === name && !record.isShadowed)
    )
  }

  owner(name: string): PluginRecord | undefined {
    return this.#owners.get(name)
  }

  // -------------------------------------------------------------------------------------------------
  // Names

  /**
   * Keeps a name for a plugin that is about to be set up.
   * @returns false for a bundled plugin that a directory plugin of the same name replaces
   * @throws GatewayError `plugin_conflict` where the name is taken, or there are too many plugins
   */
  reserve(record: PluginRecord, name: string): boolean {
    const holder = this.#reserved.get(name) ?? this.#owners.get(name)
    const isFree = holder === undefined || holder === record || holder.isFileGone || isSpare(holder)
    if (!isFree) {
      if (isSpare(record)) return false
      throw new GatewayError(
        "plugin_conflict",
        `plugin already registered: "${name}" in ${record.source} is also the name of the plugin in ${holder.source}, which keeps it; rename one of them`,
      )
    }
    if (holder === undefined && !this.#hasRoomFor(record, name)) {
      throw new GatewayError(
        "plugin_conflict",
        `maximum number of plugins reached (${this.#options.maxPlugins}); remove one, or raise plugins.max_plugins, to load "${name}"`,
      )
    }
    this.#reserved.set(name, record)
    return true
  }

  release(record: PluginRecord): void {
    for (const [name, holder] of this.#reserved) if (holder === record) this.#reserved.delete(name)
  }

  /** Makes a record the owner of the name it reserved; returns the owner it displaced. */
  own(record: PluginRecord, name: string): PluginRecord | undefined {
    const previous = this.#owners.get(name)
    this.release(record)
    this.rename(record, name)
    this.#owners.set(name, record)
    return previous === record ? undefined : previous
  }

  isReserved(name: string): boolean {
    return this.#reserved.has(name)
  }

  /** Calls a record by what its definition says. It gives up the name it had. */
  rename(record: PluginRecord, name: string): void {
    if (record.name !== name && this.#owners.get(record.name) === record) this.#owners.delete(record.name)
    record.name = name
  }

  /** Bundled plugins that are switched off do not count: nobody asked for them. */
  #hasRoomFor(record: PluginRecord, name: string): boolean {
    if (record.isBundled && !this.isEnabled(record, name)) return true
    const owners = [...this.#owners.values()].filter((owner) => !owner.isBundled || this.isEnabled(owner))
    const comers = [...this.#reserved.keys()].filter((reserved) => !this.#owners.has(reserved))
    return owners.length + comers.length < this.#options.maxPlugins
  }

  // -------------------------------------------------------------------------------------------------
  // On and off

  isEnabled(record: PluginRecord, name = record.name): boolean {
    return this.#overrides.get(name) ?? this.#isConfigured(record, name)
  }

  /**
   * Whether the gateway is meant to have a plugin of this type, active or not. One that was switched off for failing
   * counts: it was not the operator who wanted to do without it. Asked by requests: what is of another type costs
   * nothing, however much of it there is.
   */
  wants(type: PluginType): boolean {
    for (const record of this.#byType.get(type) ?? NONE) {
      if (record.plannedManifest?.type !== type || record.isShadowed || !this.has(record)) continue
      if (record.error?.code === "plugin_failed" || this.isEnabled(record)) return true
    }
    return false
  }

  /** What the admin says holds until the configuration changes its mind. */
  setEnabled(record: PluginRecord, name: string, enabled: boolean): void {
    if (this.#isConfigured(record, name) === enabled) this.#overrides.delete(name)
    else this.#overrides.set(name, enabled)
  }

  /** Forgets what the admin said where the configuration has come to say the same: from then on, it rules. */
  settleOverrides(): void {
    for (const [name, enabled] of this.#overrides) {
      const record = this.find(name)
      if (record !== undefined && this.#isConfigured(record, name) === enabled) this.#overrides.delete(name)
    }
  }

  overrides(): Overrides {
    return { enabled: Object.fromEntries(this.#overrides) }
  }

  /** Takes over what another process was told, before any plugin is loaded. */
  adopt({ enabled }: Overrides): void {
    for (const [name, isEnabled] of Object.entries(enabled)) this.#overrides.set(name, isEnabled)
  }

  #isConfigured(record: PluginRecord, name: string): boolean {
    return this.#options.entry(name)?.enabled ?? !record.isBundled
  }

  // -------------------------------------------------------------------------------------------------
  // Dependencies

  /** What a plugin says it needs, with what the configuration adds; where both have a range, that one's counts. */
  needsOf({ name, dependencies, loadAfter }: PluginManifest): Ordered {
    const { dependencies: configured = [], loadAfter: later = [] } = this.#options.entry(name) ?? {}
    const added = configured.map((text) => {
      const [needed = "", range] = splitAtFirst(text, "@")
      return [needed, range ?? dependencies[needed] ?? ANY_VERSION] as const
    })
    return {
      name,
      dependencies: { ...dependencies, ...Object.fromEntries(added) },
      loadAfter: [...new Set([...loadAfter, ...later])],
    }
  }

  /** Why a plugin cannot be active now; undefined if it can. `leaving` count as gone. */
  unmet(manifest: PluginManifest, leaving: ReadonlySet<PluginRecord> = new Set()): GatewayError | undefined {
    const reasons = Object.entries(this.needsOf(manifest).dependencies).flatMap(([needed, range]) => {
      const reason = this.#lack(needed, range, leaving)
      return reason === undefined ? [] : [`"${needed}"${range === ANY_VERSION ? "" : ` ${range}`}, ${reason}`]
    })
    if (reasons.length === 0) return undefined
    const message = `plugin "${manifest.name}" needs ${reasons.join("; and ")}`
    return new GatewayError("plugin_dependency_failed", message)
  }

  #lack(needed: string, range: string, leaving: ReadonlySet<PluginRecord>): string | undefined {
    if (!isVersionRange(range)) return "which is no range of versions; write one such as ^1.2.0"
    const record = this.find(needed)
    if (record === undefined) return "which is not loaded; add it to the plugin directory"
    if (record.instance !== undefined && !leaving.has(record)) {
      const { version } = record.instance
      return satisfies(version, range) ? undefined : `which is loaded in version ${version}`
    }
    if (leaving.has(record)) return "which is going"
    if (!this.isEnabled(record)) return "which is disabled; enable it first"
    return record.error === undefined ? "which is not active yet" : `which failed: ${record.error.message}`
  }

  /** Why this version of a plugin cannot be active with the others as they are now; undefined if it can. */
  misfit(manifest: PluginManifest): GatewayError | undefined {
    const { name, version } = manifest
    const unmet = this.unmet(manifest)
    const [broken] = this.brokenBy(manifest)
    if (unmet !== undefined || broken === undefined) return unmet
    return new GatewayError(
      "plugin_dependency_failed",
      `plugin "${name}" ${version} is not the version of "${name}" that plugin "${broken.name}" needs; update "${broken.name}" with it`,
    )
  }

  /** Plugins that are not active for want of something that is there by now. */
  wakeable(): readonly PluginRecord[] {
    return this.records().filter((record) => {
      const { manifest, error } = record
      if (record.instance !== undefined || manifest === undefined) return false
      if (record.isShadowed || error?.code === "plugin_conflict") {
        const { name } = manifest
        return !this.#owners.has(name) && !this.#reserved.has(name) && this.#hasRoomFor(record, name)
      }
      return error?.code === "plugin_dependency_failed" && this.unmet(manifest) === undefined
    })
  }

  /** Active plugins that could not stay if these went. */
  orphans(leaving: readonly PluginRecord[]): readonly PluginRecord[] {
    const gone = new Set(leaving)
    const isOrphan = (record: PluginRecord) =>
      record.instance !== undefined &&
      record.plannedManifest !== undefined &&
      !gone.has(record) &&
      this.unmet(record.plannedManifest, gone) !== undefined
    const records = this.records()
    for (let next = records.find(isOrphan); next !== undefined; next = records.find(isOrphan)) gone.add(next)
    return [...gone].filter((record) => !leaving.includes(record))
  }

  /** Active plugins that need `name`, but not in this version. */
  brokenBy({ name, version }: PluginManifest): readonly PluginRecord[] {
    return this.records().filter(({ instance, plannedManifest }) => {
      if (instance === undefined || plannedManifest === undefined) return false
      const range = this.needsOf(plannedManifest).dependencies[name]
      return range !== undefined && !satisfies(version, range)
    })
  }
}

const NONE: ReadonlySet<PluginRecord> = new Set()

/** The gateway's own copy of a plugin, for which any other of the same name stands in. */
function isSpare({ definition }: PluginRecord): boolean {
  return definition !== undefined
}

function splitAtFirst(text: string, separator: string): readonly [string, string | undefined] {
  const at = text.indexOf(separator)
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)]
}
