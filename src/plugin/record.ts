/** One source of a plugin, a file or a bundled definition, and what is known about it. */
import type { TObject } from "@sinclair/typebox"
import { type ErrorCode, GatewayError } from "../errors.ts"
import type { PluginPackage } from "../source/packages.ts"
import { hashOf, type SourcePrint } from "../source/source-print.ts"
import type { Conduct } from "./conduct.ts"
import type { PluginDefinition, PluginState, PluginType } from "./contract.ts"
import { isSameSetup, type PluginInstance, type PluginSettings } from "./instance.ts"
import { createLimiter } from "./limiter.ts"
import type { PluginModule } from "./module-host.ts"
import type { Probation } from "./probation.ts"

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

/** Where code came from: enough to import it once more. */
interface Code {
  readonly manifest: PluginManifest
  /** Undefined, like its print, where the gateway imported the plugin itself. */
  readonly artefact: string | undefined
  /** What it was made of. */
  readonly print: SourcePrint | undefined
  /** Older code than what was read last: it was gone back to. */
  readonly isRecalled: boolean
}

/** Code that was read and checked, and waits for its setup. */
export interface Candidate extends Code {
  readonly definition: PluginDefinition
  readonly module: PluginModule
  readonly conduct: Conduct
  /** Told what the plugin's code throws when nobody waits for it. */
  readonly onLateError: (thrown: unknown) => void
}

/** One version of a plugin that was set up. */
export interface Release extends Code {
  readonly settings: PluginSettings | undefined
  /** Milliseconds since the epoch. */
  readonly loadedAtMs: number
}

/** A version that is tried by a share of the requests, beside the one that serves. */
export interface Canary {
  readonly release: Release
  readonly instance: PluginInstance
  /** Between 0 and 1. */
  readonly share: number
  /** Undefined once it is passed, or where there is none. */
  probation: Probation | undefined
}

export interface RecordedError {
  readonly code: ErrorCode
  readonly message: string
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly details?: unknown
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
  /** Of what serves now. */
  release: Release | undefined
  /** Runs until what serves has proved itself; for as long the version before is held. */
  probation: Probation | undefined
  /** The last good version before what serves. */
  previous: Release | undefined
  /** The instance of `previous`, out of service and alive. */
  held: PluginInstance | undefined
  canary: Canary | undefined
  /** The sources that were read last, whatever came of them; undefined where they have to be read again. */
  print: SourcePrint | undefined
  /** The sources of the version that was taken back last: they stay out until they change. */
  rejected: SourcePrint | undefined
  /** The settings of the last attempt to set it up. */
  settings: PluginSettings | undefined
  error: RecordedError | undefined
  /** Milliseconds since the epoch. */
  loadedAtMs: number | undefined
  generation: number | undefined
  isFileGone = false
  /** A directory plugin with the same name stands before this bundled one. */
  isShadowed = false
  /** Told of the type of everything that was read as this plugin. */
  onType: ((type: PluginType) => void) | undefined
  #manifest: PluginManifest | undefined
  #candidate: Candidate | undefined
  #tasks = 0
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

  /** Of what serves now, or of what was read last where nothing serves. */
  get manifest(): PluginManifest | undefined {
    return this.#manifest
  }

  set manifest(manifest: PluginManifest | undefined) {
    this.#manifest = manifest
    if (manifest !== undefined) this.onType?.(manifest.type)
  }

  /** What the plugin will say about itself once everything that is under way is done. */
  get plannedManifest(): PluginManifest | undefined {
    return this.#candidate?.manifest ?? this.#manifest
  }

  /** The built files that may still be needed. */
  get artefacts(): readonly string[] {
    const releases = [this.release, this.previous, this.canary?.release]
    return releases.flatMap((release) => release?.artefact ?? [])
  }

  get hasCandidate(): boolean {
    return this.#candidate !== undefined
  }

  offer(candidate: Candidate): void {
    this.dropCandidate()
    this.#candidate = candidate
    this.onType?.(candidate.manifest.type)
  }

  takeCandidate(): Candidate | undefined {
    const candidate = this.#candidate
    this.#candidate = undefined
    return candidate
  }

  /** Whether work on it is under way, or waits for its turn. */
  get isBusy(): boolean {
    return this.#tasks > 0
  }

  /** Runs work on this plugin's code, one after another. Its signal aborts when its outcome is not wanted any more. */
  async work<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.#wanted
    this.#tasks++
    try {
      return await this.#inTurn(async () => {
        signal.throwIfAborted()
        return task(signal)
      })
    } finally {
      this.#tasks--
    }
  }

  /** Ends all work that was asked for so far, as `interrupt` does. What was read by it may be lost, so it is read again. */
  cut(why: string): void {
    this.print = undefined
    this.interrupt(why)
  }

  /** Ends all work that was asked for so far: it rejects with this reason. */
  interrupt(why: string): void {
    this.#wanted.abort(
      new GatewayError("plugin_conflict", `loading plugin "${this.name}" was stopped: ${why}`),
    )
    this.#wanted = new AbortController()
  }

  dropCanary(): void {
    this.canary?.probation?.end()
    this.canary = undefined
  }

  /** What serves is older than what was tried. */
  rejectCanary(): void {
    this.rejected = this.print ?? this.canary?.release.print
    this.dropCanary()
    if (this.release !== undefined) this.release = { ...this.release, isRecalled: true }
  }

  /**
   * These sources were gone back from elsewhere: they are not to serve here, where they may be on their way.
   * @returns whether that is news
   */
  reject(code: string | null): boolean {
    const { release, print } = this
    if (release === undefined || release.isRecalled || print?.hash !== (code ?? undefined)) return false
    this.interrupt("it was rolled back")
    this.dropCandidate()
    this.release = { ...release, isRecalled: true }
    return true
  }

  /** Takes everything of it out of service. Returns what served. */
  clear(): PluginInstance | undefined {
    const { instance } = this
    this.probation?.end()
    this.dropCanary()
    this.instance = undefined
    this.release = undefined
    this.probation = undefined
    this.previous = undefined
    this.held = undefined
    return instance
  }

  dropCandidate(): void {
    this.takeCandidate()?.module.dispose()
  }

  /** Whether its files have other content than when they were read, or it was not read yet. */
  async isChanged(): Promise<boolean> {
    if (this.definition !== undefined) return this.manifest === undefined
    const known = this.print ?? (this.release?.isRecalled === true ? this.rejected : undefined)
    return known === undefined || (await hashOf(known.inputs)) !== known.hash
  }
}

export function isSameCode(one: Code, other: Code): boolean {
  return one.print?.hash === other.print?.hash
}

/** Whether one is the other, set up once more. */
export function isSameRelease(one: Release, other: Release): boolean {
  return isSameCode(one, other) && isSameSetup(one.settings, other.settings)
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
