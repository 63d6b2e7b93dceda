/** One source of a plugin, a file or a bundled definition, and what is known about it. */
import type { TObject } from "@sinclair/typebox"
import { GatewayError } from "../errors.ts"
import type { Conduct } from "./conduct.ts"
import type { PluginDefinition, PluginState, PluginType } from "./contract.ts"
import type { PluginInstance, PluginSettings } from "./instance.ts"
import { createLimiter } from "./limiter.ts"
import type { PluginModule } from "./module-host.ts"
import { hashOf, type SourcePrint } from "./source-print.ts"

/** What a definition says, without its code. */
export interface PluginManifest {
  readonly name: string
  readonly version: string
  readonly type: PluginType
  readonly description: string | undefined
  readonly dependencies: Readonly<Record<string, string>>
  readonly loadAfter: readonly string[]
  readonly metadata: Readonly<Record<string, unknown>>
  readonly config: TObject | undefined
}

/** Code that was read and checked, and waits for its setup. */
export interface Candidate {
  readonly definition: PluginDefinition
  readonly module: PluginModule
  readonly manifest: PluginManifest
  readonly artefact: string | undefined
  /** What it was made of; undefined for a bundled one. */
  readonly print: SourcePrint | undefined
  readonly conduct: Conduct
  /** Told what the plugin's code throws when nobody waits for it. */
  readonly onLateError: (thrown: unknown) => void
}

export interface RecordedError {
  readonly code: string
  readonly message: string
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly details?: unknown
}

/** The npm package that a plugin is, as `plugins.packages` asks for it. */
export interface PluginPackage {
  readonly name: string
  readonly version: string
  /** Why it cannot be loaded: it is not there, or another version is. */
  readonly obstacle: GatewayError | undefined
}

interface RecordOptions {
  /** Absolute path of the entry file, or `bundled:<name>`. */
  readonly source: string
  readonly name: string
  /** The folder that its files have to lie in. */
  readonly home?: string
  readonly package?: PluginPackage
  /** Comes with the gateway: it is off unless the configuration says otherwise. */
  readonly isBundled: boolean
  /** The definition, where the gateway imported it itself. */
  readonly definition?: PluginDefinition
  /** Was registered by name, so that it stays where the directory does not list it. */
  readonly isPinned?: boolean
}

export class PluginRecord {
  readonly source: string
  readonly home: string | undefined
  readonly isBundled: boolean
  readonly isPinned: boolean
  readonly definition: PluginDefinition | undefined

  package: PluginPackage | undefined
  /** The definition's, or made from the file's name until that was read. */
  name: string
  state: PluginState = "loaded"
  /** What serves now. */
  instance: PluginInstance | undefined
  /** Of what serves now, or of what was read last where nothing serves. */
  manifest: PluginManifest | undefined
  artefact: string | undefined
  /** The sources that were read last, whatever came of them; undefined where they have to be read again. */
  print: SourcePrint | undefined
  /** What the version that serves was made of. */
  servingPrint: SourcePrint | undefined
  /** The settings of the last attempt to set it up. */
  settings: PluginSettings | undefined
  error: RecordedError | undefined
  /** Milliseconds since the epoch. */
  loadedAtMs: number | undefined
  generation: number | undefined
  isFileGone = false
  /** A directory plugin with the same name stands before this bundled one. */
  isShadowed = false
  #candidate: Candidate | undefined
  #wanted = new AbortController()
  readonly #inTurn = createLimiter(1)

  constructor(options: RecordOptions) {
    const { source, name, home, isBundled, definition, isPinned = false } = options
    this.source = source
    this.name = name
    this.home = home
    this.package = options.package
    this.isBundled = isBundled
    this.definition = definition
    this.isPinned = isPinned
  }

  /** The plugin's own source files; where they are not known, its entry. */
  get files(): readonly string[] {
    return this.print?.inputs.map(({ file }) => file) ?? [this.source]
  }

  /** What the plugin will say about itself once everything that is under way is done. */
  get plannedManifest(): PluginManifest | undefined {
    return this.#candidate?.manifest ?? this.manifest
  }

  get hasCandidate(): boolean {
    return this.#candidate !== undefined
  }

  offer(candidate: Candidate): void {
    this.dropCandidate()
    this.#candidate = candidate
  }

  takeCandidate(): Candidate | undefined {
    const candidate = this.#candidate
    this.#candidate = undefined
    return candidate
  }

  /** Runs work on this plugin's code, one after another. Its signal aborts when its outcome is not wanted any more. */
  work<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.#wanted
    return this.#inTurn(async () => {
      signal.throwIfAborted()
      return task(signal)
    })
  }

  /** Ends all work that was asked for so far: it rejects with this reason. What was read by it may be lost. */
  cut(why: string): void {
    this.print = undefined
    this.#wanted.abort(
      new GatewayError("plugin_conflict", `loading plugin "${this.name}" was stopped: ${why}`),
    )
    this.#wanted = new AbortController()
  }

  dropCandidate(): void {
    this.takeCandidate()?.module.dispose()
  }

  /** Whether its files have other content than when they were read, or it was not read yet. */
  async isChanged(): Promise<boolean> {
    if (this.definition !== undefined) return this.manifest === undefined
    return this.print === undefined || (await hashOf(this.print.inputs)) !== this.print.hash
  }
}

export function manifestOf(definition: PluginDefinition): PluginManifest {
  const {
    name,
    version,
    type,
    description,
    dependencies = {},
    loadAfter = [],
    metadata = {},
    config,
  } = definition
  return {
    name,
    version,
    type,
    description,
    dependencies: { ...dependencies },
    loadAfter: [...loadAfter],
    // A copy: the plugin's objects would keep its code in memory.
    metadata: JSON.parse(JSON.stringify(metadata)),
    config,
  }
}
