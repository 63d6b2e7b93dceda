import { realpathSync } from "node:fs"
import { resolve } from "node:path"
import { GatewayError, messageOf } from "../errors.ts"
import { hashOf, type SourcePrint } from "./build.ts"
import type { PluginDefinition } from "./contract.ts"
import { discoverPlugins, type PluginSource, pluginAt } from "./discover.ts"
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
  readonly roster: Roster
}

/** What is different on disk from what is known. */
export interface Differences {
  readonly changed: readonly PluginRecord[]
  readonly gone: readonly PluginRecord[]
}

/** Where plugins come from: the directory, single files, and the gateway itself. Knows what the roster does not have yet. */
export class PluginSources {
  readonly #options: SourcesOptions
  /** The files of bundled plugins: one that lies in the directory is loaded from there, and is bundled still. */
  readonly #bundledFiles: readonly string[]
  /** Files whose plugin was unregistered, with the hash of what they held: they stay away until that changes. */
  readonly #dismissed = new Map<string, SourcePrint>()

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
    const { roster } = this.#options
    const sources = await this.#discover()
    const present = new Set(sources.map(({ file }) => file))
    for (const file of this.#dismissed.keys()) if (!present.has(file)) this.#dismissed.delete(file)

    const known = roster.records()
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
  async dismiss({ source, files }: PluginRecord): Promise<void> {
    this.#dismissed.set(source, { inputs: files, hash: await hashOf(files) })
  }

  #bundledRecords(): readonly PluginRecord[] {
    return this.#options.bundled.map(({ definition }) => {
      const { name } = definition
      return new PluginRecord({ source: `bundled:${name}`, name, isBundled: true, definition })
    })
  }

  async #fileRecord(path: string): Promise<PluginRecord> {
    const source = await pluginAt(resolve(path))
    if (source !== undefined) return this.#recordOf(source, { isPinned: true })
    throw new GatewayError(
      "plugin_load_failed",
      `there is no plugin at ${path}; name a file, or a folder with index.ts, plugin.ts or a package.json with "main"`,
    )
  }

  #recordOf({ file, name, realPath }: PluginSource, { isPinned = false } = {}): PluginRecord {
    const isBundled = this.#bundledFiles.includes(realPath)
    return new PluginRecord({ source: file, name, isBundled, isPinned })
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

  async #isNew({ file }: PluginSource): Promise<boolean> {
    if (this.#options.roster.at(file) !== undefined) return false
    const dismissed = this.#dismissed.get(file)
    if (dismissed === undefined) return true
    if ((await hashOf(dismissed.inputs)) === dismissed.hash) return false
    this.#dismissed.delete(file)
    return true
  }
}

function bySource(a: PluginRecord, b: PluginRecord): number {
  return a.source < b.source ? -1 : 1
}

function realPathOf(file: string): string {
  try {
    return realpathSync(file)
  } catch {
    // A binary carries its bundled plugins inside: their files need not exist.
    return file
  }
}
