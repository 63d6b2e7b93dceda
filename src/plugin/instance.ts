/** One loaded version of a plugin, from its `setup` to its disposal. */
import { GatewayError, messageOf } from "../errors.ts"
import { positionOf, positionText } from "../source/source-position.ts"
import type { Breaker, BreakerEntry } from "./breaker.ts"
import { type CallRecorder, pluginCall } from "./call-recorder.ts"
import type { Conduct } from "./conduct.ts"
import type { Abilities, Awaitable, PluginDefinition, PluginType, SetupContext } from "./contract.ts"
import { Lifetime } from "./lifetime.ts"
import type { ModuleHost, PluginModule } from "./module-host.ts"
import type { Monitor } from "./monitor.ts"
import { checkFailurePolicy, resolveConfig } from "./plugin-config.ts"
import type { ProbationRule } from "./probation.ts"
import { type PluginServices, setupContext } from "./setup-context.ts"
import type { PluginStats } from "./stats.ts"
import { withinLimit } from "./time-limit.ts"
import { checkAbilities } from "./validate.ts"
import { INSIDE } from "./watchdog-board.ts"
import { PluginWorker, RefusedStart } from "./worker-host.ts"

export type FailurePolicy = "open" | "closed" | "disable"

/** What the configuration says about one plugin. */
export interface PluginSettings {
  readonly enabled: boolean
  readonly priority?: number | undefined
  readonly config: Readonly<Record<string, unknown>>
  /** Names, or `name@range`. */
  readonly dependencies: readonly string[]
  readonly loadAfter?: readonly string[]
  readonly onError?: FailurePolicy | undefined
  readonly timeoutMs: number
  readonly isolation: "inline" | "worker"
  /** The heap that its worker may use. */
  readonly workerMemoryBytes?: number | undefined
  readonly breaker?: BreakerEntry | undefined
  /** False: a new version is on its own at once. Undefined: as for all plugins. */
  readonly probation?: ProbationRule | false | undefined
  /** Share of the requests, between 0 and 1, that a new version gets before it is promoted. */
  readonly canary?: number | undefined
}

/** `canary`: tried by a share of the requests, beside what serves. */
export type Role = "stable" | "canary"

/** Whether a plugin would be set up alike with both. How a new version is brought in makes no difference to it. */
export function isSameSetup(one: PluginSettings | undefined, other: PluginSettings | undefined): boolean {
  return Bun.deepEquals(setupPart(one), setupPart(other))
}

/** What makes a difference to how a plugin is set up. */
export function setupPart({ enabled, probation, canary, ...setup }: PluginSettings = NO_SETTINGS) {
  return setup
}

interface InstanceOptions {
  readonly definition: PluginDefinition
  readonly module: PluginModule
  /** What the module was imported from; undefined for a bundled plugin. */
  readonly artefact: string | undefined
  /** Absolute path, or `bundled:<name>`. */
  readonly source: string
  /** The plugin's own files, to find the place of an error in. */
  readonly files: readonly string[]
  readonly settings: PluginSettings | undefined
  readonly services: PluginServices
  readonly stats: PluginStats
  readonly conduct: Conduct
  readonly onLateError: (thrown: unknown) => void
  /** Cuts `setup` short; its reason is thrown. */
  readonly signal: AbortSignal
}

const DEFAULT_PRIORITY = 50
const DEFAULT_CALL_TIMEOUT_MS = 5000

/** What a plugin without an entry gets. */
export const NO_SETTINGS: PluginSettings = {
  enabled: true,
  config: {},
  dependencies: [],
  loadAfter: [],
  timeoutMs: DEFAULT_CALL_TIMEOUT_MS,
  isolation: "inline",
}

export class PluginInstance<T extends PluginType = PluginType> {
  readonly name: string
  readonly version: string
  readonly type: T
  readonly source: string
  /** The plugins that must outlive this one. */
  readonly needs: readonly string[]
  readonly abilities: Abilities<T>
  readonly priority: number
  readonly failurePolicy: FailurePolicy
  /** Deadline of each call into the plugin. */
  readonly timeoutMs: number
  readonly stats: PluginStats
  readonly conduct: Conduct
  /** Switched off by its breaker: the one property that every call looks at. */
  isOff = false
  breaker: Breaker | undefined
  /** Points that are bound from now on are counted under it. */
  role: Role = "stable"
  readonly #module: PluginModule
  readonly #lifetime: Lifetime
  readonly #outside: ModuleHost["outside"]
  readonly #recorder: CallRecorder | undefined
  readonly #listeners = new Set<(reason: GatewayError) => void>()
  #reason: GatewayError | undefined
  #disposal: Promise<void> | undefined
  #monitor: Monitor | undefined

  private constructor(options: InstanceOptions, lifetime: Lifetime, abilities: Abilities<T>, type: T) {
    const { definition, module, source, settings, services, stats, conduct } = options
    this.name = definition.name
    this.version = definition.version
    this.type = type
    this.source = source
    this.needs = [...Object.keys(definition.dependencies ?? {}), ...(settings?.dependencies ?? [])]
    this.abilities = abilities
    this.priority = settings?.priority ?? ownPriority(abilities) ?? DEFAULT_PRIORITY
    this.failurePolicy = settings?.onError ?? defaultPolicy(type)
    this.timeoutMs = settings?.timeoutMs ?? DEFAULT_CALL_TIMEOUT_MS
    this.stats = stats
    this.conduct = conduct
    this.#module = module
    this.#lifetime = lifetime
    this.#outside = services.moduleHost.outside
    this.#recorder = services.recorder
  }

  /**
   * Sets a plugin up. Nothing is left of one that fails.
   * @throws GatewayError `plugin_config_invalid`, `plugin_setup_failed`, `plugin_invalid`, or the signal's reason
   */
  static async create(options: InstanceOptions): Promise<PluginInstance> {
    const { definition, settings, services } = options
    const { clock, setupTimeoutMs: timeoutMs } = services
    const log = services.log.child({ plugin: definition.name })
    const worker = settings?.isolation === "worker" ? workerOf(options) : undefined
    const module = worker ?? options.module
    const lifetime = new Lifetime({ log, clock, module, timeoutMs })
    try {
      checkFailurePolicy(definition, settings?.onError)
      const config = resolveConfig(definition.name, definition.config, settings?.config)
      const context = setupContext({ definition, lifetime, config }, services)
      // The definition's own schema made the config, so its `setup` takes it.
      const setup = () => definition.setup(context as SetupContext<never>)
      const returned = await runSetup(
        options,
        () => worker?.start() ?? watched(options, () => module.run(setup)),
      )
      const abilities = checkAbilities(definition, returned)
      // Its definition was all that the gateway wanted of it; what runs, runs in the worker.
      if (worker !== undefined) options.module.dispose()
      return new PluginInstance({ ...options, module }, lifetime, abilities, definition.type)
    } catch (thrown) {
      await lifetime.end(new GatewayError("plugin_setup_failed", "setup failed", { cause: thrown }))
      module.dispose()
      options.module.dispose()
      throw thrown
    }
  }

  /** Counts a call that ended, well or not, and tells of it where somebody listens. */
  called(hook: string, elapsedMs: number, thrown?: unknown): void {
    this.stats.recordCall(elapsedMs)
    this.conduct.called()
    this.#recorder?.record(pluginCall(this.name, hook, elapsedMs, thrown))
  }

  /** Counts a call that failed, or was cut at its deadline. */
  failed(reason: string, kind: "error" | "timeout"): void {
    this.stats.recordError(reason, kind)
    this.conduct.failed(reason, { kind })
  }

  /** Calls `fn` in the plugin's context, so that what it opens goes when the plugin goes. */
  run<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R {
    if (this.#reason !== undefined) throw this.#reason
    return this.#module.run(fn, ...args)
  }

  /**
   * Tells `listener` when calls in flight will never settle any more; returns what takes it away again. A promise
   * would not do: every race against it stays in memory for as long as the instance lives.
   */
  onGone(listener: (reason: GatewayError) => void): () => void {
    if (this.#reason !== undefined) listener(this.#reason)
    else this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Calls `fn` as the host: what it opens outlives whoever is being served. */
  outside<T>(fn: () => T): T {
    return this.#outside(fn)
  }

  /** What waits to be told to this version; made once, and emptied before the version goes. */
  monitor(make: () => Monitor): Monitor {
    this.#monitor ??= make()
    return this.#monitor
  }

  /** Aborts the signal, runs `shutdown` and the clean-ups, closes the rest. Never rejects; runs once. */
  dispose(): Promise<void> {
    this.#disposal ??= this.#outside(() => this.#dispose())
    return this.#disposal
  }

  async #dispose(): Promise<void> {
    const reason = new GatewayError(
      "plugin_failed",
      `plugin "${this.name}" ${this.version} was taken out of service during the call; try again`,
    )
    const { abilities } = this
    await this.#monitor?.close()
    await this.#lifetime.end(reason, abilities.shutdown?.bind(abilities))
    this.#reason = reason
    this.#module.dispose()
    for (const listener of this.#listeners) listener(reason)
    this.#listeners.clear()
  }
}

function workerOf(options: InstanceOptions): PluginWorker {
  const { settings } = options
  const { timeoutMs = DEFAULT_CALL_TIMEOUT_MS, workerMemoryBytes: memoryBytes, config = {} } = settings ?? {}
  return new PluginWorker({ ...options, config, timeoutMs, memoryBytes })
}

async function runSetup(options: InstanceOptions, setup: () => Awaitable<unknown>): Promise<unknown> {
  const { definition, services, signal, files } = options
  const { clock, setupTimeoutMs: ms } = services
  const what = `setup of plugin "${definition.name}"`
  const late = new GatewayError(
    "plugin_setup_failed",
    `${what} did not finish within ${ms} ms; look for a promise that never settles, or raise plugins.timeout`,
  )
  try {
    return await withinLimit(setup(), { clock, ms, signal, makeError: () => late })
  } catch (thrown) {
    if (thrown === late || signal.aborted) throw thrown
    if (thrown instanceof RefusedStart) throw thrown.fault
    const position = positionOf(thrown, files)
    const where = position === undefined ? "" : ` at ${positionText(position)}`
    const message = messageOf(thrown)
    throw new GatewayError("plugin_setup_failed", `${what} failed${where}: ${message}`, {
      cause: thrown,
      details: { errors: position === undefined ? [] : [{ ...position, message }] },
    })
  }
}

/** A `setup` that never returns is named like any other part of a plugin. */
function watched<T>({ definition, services }: InstanceOptions, setup: () => T): T {
  const { watchdog } = services
  if (watchdog === undefined) return setup()
  watchdog.board[INSIDE] = watchdog.watch(definition.name, "setup").slot
  try {
    return setup()
  } finally {
    watchdog.board[INSIDE] = 0
  }
}

function ownPriority(abilities: Abilities): number | undefined {
  return "priority" in abilities ? abilities.priority : undefined
}

/** A plugin that guards or rewrites calls must not be skipped when it fails; the others may. */
function defaultPolicy(type: PluginType): FailurePolicy {
  return type === "auth" || type === "transform" ? "closed" : "open"
}
