import { basename, dirname, resolve } from "node:path"
import { GatewayError, messageOf } from "../errors.ts"
import { isInside, realPathOf } from "../source/containment.ts"
import { discoverPlugins, type PluginSource, pluginAt } from "../source/discover.ts"
import { findPackage, type PackageSource } from "../source/packages.ts"
import { hashOf, type SourcePrint } from "../source/source-print.ts"
import type { PluginDefinition } from "./contract.ts"
import type { PluginLock } from "./plugin-lock.ts"
import { PluginRecord } from "./record.ts"
import type { Roster } from "./roster.ts"

export interface BundledPlugin {
  readonly definition: PluginDefinition
  /** Its source file, absolute. In a binary it need not exist. */
  readonly file: string
}

interface SourcesOptions {
  /** The plugin directory, absolute. */
  readonly directory: string
  readonly bundled: readonly BundledPlugin[]
  /** What `plugins.packages` says now. */
  readonly packages: () => readonly string[]
  readonly lock: PluginLock
  readonly roster: Roster
}

/** What is different on disk from what is known. */
export interface Differences {
  readonly changed: readonly PluginRecord[]
  readonly gone: readonly PluginRecord[]
}

/** Where plugins come from: the directory and its packages, single files, and the gateway itself. Knows what the roster does not have yet. */
export class PluginSources {
  readonly #options: SourcesOptions
  /** The files of bundled plugins: one that lies in the directory is loaded from there, and is bundled still. */
  readonly #bundledFiles: readonly string[]
  /** Files whose plugin was unregistered, with the hash of what they held: they stay away until that changes. */
  readonly #dismissed = new Map<string, Pick<SourcePrint, "inputs" | "hash">>()

  constructor(options: SourcesOptions) {
    this.#options = options
    this.#bundledFiles = options.bundled.map(({ file }) => realPathOf(file))
  }

  /** Adds the bundled plugins to the roster; returns those that are new there. */
  addBundled(): readonly PluginRecord[] {
    const { roster } = this.#options
    const missing = this.#bundledRecords().filter(({ source }) => roster.at(source) === undefined)
    return missing.map((record) => roster.add(record))
  }

  /**
   * Adds the plugin at a path, or a bundled one from `bundled:<name>`.
   * @throws GatewayError `plugin_conflict` where it is there already, `plugin_load_failed` where there is none
   */
  async add(path: string): Promise<PluginRecord> {
    const { roster } = this.#options
    const record =
      this.#bundledRecords().find(({ source }) => source === path) ?? (await this.#fileRecord(path))
    const known = roster.at(record.source)
    if (known === undefined) return roster.add(record)
    const message = `plugin already registered: "${known.name}" from ${known.source}; reload it to load it again`
    throw new GatewayError("plugin_conflict", message)
  }

  /** Adds new files to the roster, marks those that are gone. Must not overlap with itself. */
  async compare(): Promise<Differences> {
    const { roster, lock } = this.#options
    const isLockChanged = await lock.look()
    const sources = [...(await this.#discover()), ...(await this.#packages())]
    const present = new Set(sources.map(({ file }) => file))
    for (const file of this.#dismissed.keys()) if (!present.has(file)) this.#dismissed.delete(file)

    const known = roster.records()
    for (const record of known) {
      // What the lock did not allow, it may allow now. What serves, serves on.
      if (isLockChanged && record.error?.code === "plugin_integrity") record.print = undefined
    }
    for (const record of known) {
      const isThere = record.definition !== undefined || present.has(record.source)
      record.isFileGone = !isThere && !(record.isPinned && (await pluginAt(record.source)) !== undefined)
    }
    const isChanged = await Promise.all(known.map((record) => !record.isFileGone && record.isChanged()))
    const fresh = []
    for (const source of sources)
      if (await this.#isNew(source)) fresh.push(roster.add(this.#recordOf(source)))
    return {
      changed: [...known.filter((_, index) => isChanged[index]), ...fresh].sort(bySource),
      gone: known.filter(({ isFileGone }) => isFileGone),
    }
  }

  /** Leaves a file out until it changes. */
  async dismiss({ source, print }: PluginRecord): Promise<void> {
    const inputs = print?.inputs ?? [{ file: source, name: basename(source), sha256: "" }]
    this.#dismissed.set(source, { inputs, hash: await hashOf(inputs) })
  }

  #bundledRecords(): readonly PluginRecord[] {
    return this.#options.bundled.map(({ definition }) => {
      const { name } = definition
      return new PluginRecord({ source: `bundled:${name}`, name, isBundled: true, definition })
    })
  }

  async #fileRecord(path: string): Promise<PluginRecord> {
    const source = await pluginAt(resolve(path))
    if (source !== undefined) {
      const isOfDirectory = isInside(this.#options.directory, source.file)
      const folder = source.file === source.path ? dirname(source.path) : source.path
      return this.#recordOf(source, { isPinned: true, home: isOfDirectory ? undefined : folder })
    }
    throw new GatewayError(
      "plugin_load_failed",
      `there is no plugin at ${path}; name a file, or a folder with index.ts, plugin.ts or a package.json with "main"`,
    )
  }

  #recordOf(
    found: PluginSource | PackageSource,
    { isPinned = false, home }: RecordOptions = {},
  ): PluginRecord {
    const { file } = found
    if ("package" in found) {
      const name = found.package.name.replace(/[^a-z0-9]+/g, "-").replace(/^-/, "")
      return new PluginRecord({
        source: file,
        name,
        home: found.home,
        package: found.package,
        isBundled: false,
      })
    }
    const isBundled = this.#bundledFiles.includes(found.realPath)
    const { directory } = this.#options
    return new PluginRecord({ source: file, name: found.name, home: home ?? directory, isBundled, isPinned })
  }

  /** Those of `plugins.packages`, which are told what it asks for now. */
  async #packages(): Promise<readonly PackageSource[]> {
    const { directory, packages, roster } = this.#options
    return Promise.all(
      packages().map(async (spec) => {
        const found = await findPackage(directory, spec)
        const known = roster.records().find((record) => record.package?.name === found.package.name)
        if (known?.package === undefined) return found
        // Another version may be another plugin, even where its files are the same.
        if (known.package.version !== found.package.version) known.print = undefined
        if (found.package.obstacle !== undefined || known.package.obstacle !== undefined)
          known.print = undefined
        known.package = found.package
        // What serves, serves on while another version of it cannot be loaded.
        return found.package.obstacle === undefined ? found : { ...found, file: known.source }
      }),
    )
  }

  async #discover(): Promise<readonly PluginSource[]> {
    const { directory } = this.#options
    try {
      return await discoverPlugins(directory)
    } catch (thrown) {
      const message = `cannot read the plugin directory ${directory}: ${messageOf(thrown)}`
      throw new GatewayError("plugin_load_failed", message, { cause: thrown })
    }
  }

  async #isNew({ file }: Pick<PluginSource, "file">): Promise<boolean> {
    if (this.#options.roster.at(file) !== undefined) return false
    const dismissed = this.#dismissed.get(file)
    if (dismissed === undefined) return true
    if ((await hashOf(dismissed.inputs)) === dismissed.hash) return false
    this.#dismissed.delete(file)
    return true
  }
}

interface RecordOptions {
  readonly isPinned?: boolean
  /** The folder that its files have to lie in, where that is not the plugin directory. */
  readonly home?: string | undefined
}

function bySource(a: PluginRecord, b: PluginRecord): number {
  return a.source < b.source ? -1 : 1
}
