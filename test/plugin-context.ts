/** Sets up a plugin as the gateway does, with its real config check, store and logger, but without a gateway. */
import type { StaticDecode, TObject } from "@sinclair/typebox"
import { systemClock } from "../src/clock.ts"
import type {
  Abilities,
  CacheEvent,
  Metric,
  PluginDefinition,
  PluginType,
  Principal,
  SetupContext,
} from "../src/plugin/contract.ts"
import { resolveConfig } from "../src/plugin/plugin-config.ts"
import { checkAbilities, checkDefinition } from "../src/plugin/validate.ts"
import { createMemoryStore, type StateStore } from "../src/state/store.ts"
import { createLogger } from "../src/telemetry/logger.ts"

interface SetUpOptions {
  /** As it stands in config.yaml, under `plugins.configs.<name>.config`. */
  readonly config?: Readonly<Record<string, unknown>>
  /** Hand over the same one to see what outlives a reload. */
  readonly state?: StateStore
}

interface LogLine {
  readonly level: string
  readonly message: string
  readonly [field: string]: unknown
}

export interface SetUpPlugin<T extends PluginType> {
  readonly abilities: Abilities<T>
  readonly lines: readonly LogLine[]
  readonly metrics: readonly Metric[]
  readonly cacheEvents: readonly Omit<CacheEvent, "plugin" | "timestamp">[]
  /** Ends this version of the plugin: aborts its signal, shuts it down, then runs the clean-ups in reverse. */
  dispose(): Promise<void>
}

export async function setUpPlugin<T extends PluginType, S extends TObject>(
  definition: PluginDefinition<T, S>,
  { config = {}, state = createMemoryStore({ clock: systemClock }) }: SetUpOptions = {},
): Promise<SetUpPlugin<T>> {
  const { name, version } = checkDefinition(definition, "the test")
  const lines: LogLine[] = []
  const metrics: Metric[] = []
  const cacheEvents: Omit<CacheEvent, "plugin" | "timestamp">[] = []
  const cleanUps: (() => unknown)[] = []
  const life = new AbortController()

  const context: SetupContext<StaticDecode<S>> = {
    name,
    version,
    config: resolveConfig(name, definition.config, config) as StaticDecode<S>,
    log: createLogger({ level: "debug", destination: (line) => lines.push(JSON.parse(line)) }),
    state: state.namespace(name),
    signal: life.signal,
    directory: import.meta.dir,
    emit: { metric: (metric) => metrics.push(metric), cacheEvent: (event) => cacheEvents.push(event) },
    onDispose: (cleanUp) => cleanUps.push(cleanUp),
  }
  const abilities = await definition.setup(context)
  checkAbilities(definition as unknown as PluginDefinition, abilities)

  async function dispose(): Promise<void> {
    life.abort()
    await abilities.shutdown?.()
    for (const cleanUp of cleanUps.reverse()) await cleanUp()
  }
  return { abilities, lines, metrics, cacheEvents, dispose }
}

export const ANONYMOUS: Principal = {
  name: "anonymous",
  via: "anonymous",
  roles: [],
  permissions: [],
  metadata: {},
}
