/** Reads plugins without setting any of them up: for commands that say what is there. */
import type { TObject } from "@sinclair/typebox"
import { systemClock } from "./clock.ts"
import type { LoadedConfig } from "./config/load.ts"
import { messageOf } from "./errors.ts"
import type { LockablePlugin } from "./plugin/catalogue.ts"
import { NO_SETTINGS } from "./plugin/instance.ts"
import { checkFailurePolicy, resolveConfig } from "./plugin/plugin-config.ts"
import type { PluginInfo } from "./plugin/plugin-info.ts"
import { PointBook } from "./plugin/point.ts"
import type { PluginRegistry } from "./plugin/registry.ts"
import { createPluginHost } from "./plugin-host.ts"
import { defaultProbation, isEnabledBy, pluginSettings } from "./plugin-settings.ts"
import { createLogger } from "./telemetry/logger.ts"
import { MetricStore } from "./telemetry/store.ts"

export interface ListedPlugin {
  readonly name: string
  readonly version: string | null
  readonly type: string | null
  readonly description: string | null
  readonly enabled: boolean
  readonly source: string
  readonly bundled: boolean
  readonly error: string | undefined
  /** JSON Schema of `plugins.configs.<name>.config`. */
  readonly config: object | undefined
}

/** Reads the definitions of all plugins; none is set up. */
export async function listPlugins(loaded: LoadedConfig): Promise<readonly ListedPlugin[]> {
  return withReader(loaded, async (registry) => {
    await registry.loadAll()
    return registry.list().map(({ name, version, type, description, source, error, bundled }) => ({
      name,
      version,
      type,
      description,
      source,
      bundled,
      enabled: isEnabledBy(loaded.config, { name, bundled }),
      error: error?.message ?? configFault(loaded, { name, type }, registry.configSchema(name)),
      config: registry.configSchema(name),
    }))
  })
}

/** What the directory's plugins and packages are made of, whatever its lock says; none is set up. */
export async function readLockable(loaded: LoadedConfig): Promise<readonly LockablePlugin[]> {
  return withReader(unlocked(loaded), async (registry) => {
    await registry.loadAll()
    return registry.lockable()
  })
}

/** Reads the definition of one plugin of the directory. @throws GatewayError why it cannot be loaded */
export async function readPlugin(loaded: LoadedConfig, path: string): Promise<PluginInfo> {
  return withReader(unlocked(loaded), (registry) => registry.register(path))
}

/** The same config without `plugins.locked`: for commands that look at what the lock is about. */
export function unlocked(loaded: LoadedConfig): LoadedConfig {
  const { config } = loaded
  return { ...loaded, config: { ...config, plugins: { ...config.plugins, locked: false } } }
}

/** A registry in which every plugin is switched off: one that is read and checked, and no more. */
async function withReader<T>(
  loaded: LoadedConfig,
  use: (registry: PluginRegistry) => Promise<T>,
): Promise<T> {
  const log = createLogger({ level: "silent" })
  const metrics = new MetricStore()
  const ignore = () => {}
  const registry = createPluginHost({
    loaded,
    log,
    metrics,
    points: new PointBook({ clock: systemClock, log, metrics, withdraw: ignore }),
    packages: () => loaded.config.plugins.packages,
    entry: (name) => ({ ...(pluginSettings(loaded.config, name) ?? NO_SETTINGS), enabled: false }),
    probation: () => defaultProbation(loaded.config),
    onSwap: ignore,
    onEvent: ignore,
    onTakenBack: ignore,
    onMetric: ignore,
    onCacheEvent: ignore,
  })
  try {
    return await use(registry)
  } finally {
    await registry.shutdownAll()
  }
}

function configFault(
  { config }: LoadedConfig,
  { name, type }: Pick<PluginInfo, "name" | "type">,
  schema: TObject | undefined,
): string | undefined {
  const settings = pluginSettings(config, name)
  if (settings?.enabled !== true) return undefined
  try {
    if (type !== null) checkFailurePolicy({ name, type }, settings.onError)
    resolveConfig(name, schema, settings.config)
    return undefined
  } catch (thrown) {
    return messageOf(thrown)
  }
}
