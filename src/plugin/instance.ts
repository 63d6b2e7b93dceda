/** One loaded version of a plugin, from its `setup` to its disposal. */
import { GatewayError, messageOf } from "../errors.ts"
import type { Conduct } from "./conduct.ts"
import type { Abilities, PluginDefinition, PluginType, SetupContext } from "./contract.ts"
import { Lifetime } from "./lifetime.ts"
import type { ModuleHost, PluginModule } from "./module-host.ts"
import { resolveConfig } from "./plugin-config.ts"
import type { ProbationRule } from "./probation.ts"
import { type PluginServices, setupContext } from "./setup-context.ts"
import { positionOf, positionText } from "./source-position.ts"
import type { PluginStats } from "./stats.ts"
import { withinLimit } from "./time-limit.ts"
import { checkAbilities } from "./validate.ts"

export type FailurePolicy = "open" | "closed" | "disable"

/** What the configuration says about one plugin. */
export interface PluginSettings {
  readonly enabled: boolean
  readonly priority?: number | undefined
  readonly config: Readonly<Record<string, unknown>>
  readonly dependencies: readonly string[]
  readonly onError?: FailurePolicy | undefined
  readonly timeoutMs: number
  readonly isolation: "inline" | "worker"
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

function setupPart({ enabled, probation, canary, ...setup }: PluginSettings = NO_SETTINGS) {
  return setup
}

interface InstanceOptions {
  readonly definition: PluginDefinition
  readonly module: PluginModule
  /** Absolute path, or `bundled:<name>`. */
  readonly source: string
  /** The plugin's own files, to find the place of an error in. */
  readonly files: readonly string[]
  readonly settings: PluginSettings | undefined
  readonly services: PluginServices
  readonly stats: PluginStats
  readonly conduct: Conduct
  /** Cuts `setup` short; its reason is thrown. */
  readonly signal: AbortSignal
}

const DEFAULT_PRIORITY = 50
const DEFAULT_CALL_TIMEOUT_MS = 5000

/** What a plugin without an entry gets. */
const NO_SETTINGS: PluginSettings = {
  enabled: true,
  config: {},
  dependencies: [],
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
  /** Points that are bound from now on are counted under it. */
  role: Role = "stable"
  readonly #module: PluginModule
  readonly #lifetime: Lifetime
  readonly #outside: ModuleHost["outside"]
  readonly #listeners = new Set<(reason: GatewayError) => void>()
  #reason: GatewayError | undefined
  #disposal: Promise<void> | undefined

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
  }

  /**
   * Sets a plugin up. Nothing is left of one that fails.
   * @throws GatewayError `plugin_config_invalid`, `plugin_setup_failed`, `plugin_invalid`, or the signal's reason
   */
  static async create(options: InstanceOptions): Promise<PluginInstance> {
    const { definition, module, settings, services } = options
    const { clock, setupTimeoutMs: timeoutMs } = services
    const log = services.log.child({ plugin: definition.name })
    const lifetime = new Lifetime({ log, clock, module, timeoutMs })
    try {
      const config = resolveConfig(definition.name, definition.config, settings?.config)
      const context = setupContext({ definition, lifetime, config }, services)
      const abilities = checkAbilities(definition, await runSetup(options, context))
      return new PluginInstance(options, lifetime, abilities, definition.type)
    } catch (thrown) {
      await lifetime.end(new GatewayError("plugin_setup_failed", "setup failed", { cause: thrown }))
      module.dispose()
      throw thrown
    }
  }

  /** Counts a call that ended, well or not. */
  called(elapsedMs: number): void {
    this.stats.recordCall(elapsedMs)
    this.conduct.called()
  }

  /** Counts a call that failed, or was cut at its deadline. */
  failed(reason: string, kind: "error" | "timeout"): void {
    this.stats.recordError(reason, kind)
    this.conduct.failed(reason, kind)
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
    await this.#lifetime.end(reason, abilities.shutdown?.bind(abilities))
    this.#reason = reason
    this.#module.dispose()
    for (const listener of this.#listeners) listener(reason)
    this.#listeners.clear()
  }
}

async function runSetup(options: InstanceOptions, context: SetupContext): Promise<unknown> {
  const { definition, module, services, signal, files } = options
  const { clock, setupTimeoutMs: ms } = services
  const what = `setup of plugin "${definition.name}"`
  const late = new GatewayError(
    "plugin_setup_failed",
    `${what} did not finish within ${ms} ms; look for a promise that never settles, or raise plugins.timeout`,
  )
  try {
    // The definition's own schema made the config, so its `setup` takes it.
    const setup = () => definition.setup(context as SetupContext<never>)
    return await withinLimit(module.run(setup), { clock, ms, signal, makeError: () => late })
  } catch (thrown) {
    if (thrown === late || signal.aborted) throw thrown
    const position = positionOf(thrown, files)
    const where = position === undefined ? "" : ` at ${positionText(position)}`
    const message = messageOf(thrown)
    throw new GatewayError("plugin_setup_failed", `${what} failed${where}: ${message}`, {
      cause: thrown,
      details: { errors: position === undefined ? [] : [{ ...position, message }] },
    })
  }
}

function ownPriority(abilities: Abilities): number | undefined {
  return "priority" in abilities ? abilities.priority : undefined
}

/** A plugin that guards or rewrites calls must not be skipped when it fails; the others may. */
function defaultPolicy(type: PluginType): FailurePolicy {
  return type === "auth" || type === "transform" ? "closed" : "open"
}
