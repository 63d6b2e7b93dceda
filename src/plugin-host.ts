/** Puts the plugin host together from the configuration. */
import { resolve } from "node:path"
import { bundledPlugins } from "./bundled.ts"
import { systemClock } from "./clock.ts"
import type { LoadedConfig } from "./config/load.ts"
import type { Config } from "./config/schema.ts"
import { messageOf } from "./errors.ts"
import type { CacheEvent, Metric, PluginLoadEvent } from "./plugin/contract.ts"
import { registerHostModules } from "./plugin/host-modules.ts"
import type { PluginSettings } from "./plugin/instance.ts"
import { createModuleHost } from "./plugin/module-host.ts"
import { resolveConfig } from "./plugin/plugin-config.ts"
import { PointBook } from "./plugin/point.ts"
import type { ProbationRule } from "./plugin/probation.ts"
import { PluginRegistry } from "./plugin/registry.ts"
import type { Snapshot } from "./plugin/snapshot.ts"
import { createMemoryStore } from "./state/store.ts"
import { createLogger, type Logger } from "./telemetry/logger.ts"
import { MetricStore } from "./telemetry/store.ts"

interface PluginHostOptions {
  readonly loaded: LoadedConfig
  readonly log: Logger
  readonly metrics: MetricStore
  readonly points: PointBook
  entry(name: string): PluginSettings | undefined
  /** Of plugins whose entry does not say. */
  probation(): ProbationRule
  onSwap(snapshot: Snapshot): void
  onEvent(event: PluginLoadEvent): void
  onMetric(metric: Metric): void
  onCacheEvent(event: CacheEvent): void
}

export function createPluginHost(options: PluginHostOptions): PluginRegistry {
  const { loaded, log, metrics, points, entry, probation, onSwap, onEvent, onMetric, onCacheEvent } = options
  const { plugins } = loaded.config
  registerHostModules()
  return new PluginRegistry({
    log,
    metrics,
    points,
    clock: systemClock,
    state: createMemoryStore({ clock: systemClock }),
    moduleHost: createModuleHost(),
    directory: pluginDirectory(loaded),
    bundled: bundledPlugins(),
    maxPlugins: plugins.max_plugins,
    maxConcurrent: plugins.max_concurrent,
    setupTimeoutMs: plugins.timeout,
    drainTimeoutMs: plugins.drain_timeout,
    entry,
    probation,
    random: Math.random,
    onSwap,
    onEvent,
    emitMetric: (_plugin, metric) => onMetric(metric),
    emitCacheEvent: onCacheEvent,
  })
}

export function pluginDirectory({ config, directory }: LoadedConfig): string {
  return resolve(directory, config.plugins.directory)
}

/** What `plugins.configs` says about a plugin. */
export function pluginSettings({ plugins }: Config, name: string): PluginSettings | undefined {
  const entry = Object.hasOwn(plugins.configs, name) ? plugins.configs[name] : undefined
  if (entry === undefined) return undefined
  const { enabled, priority, config, dependencies, on_error: onError, timeout: timeoutMs, isolation } = entry
  const { canary } = entry
  const { calls, max_errors: maxErrors } = { ...plugins.probation, ...entry.probation }
  const probation = entry.probation && { calls, maxErrors }
  return { enabled, priority, config, dependencies, onError, timeoutMs, isolation, probation, canary }
}

/** What holds for plugins whose entry does not say. */
export function defaultProbation({ plugins }: Config): ProbationRule {
  return { calls: plugins.probation.calls, maxErrors: plugins.probation.max_errors }
}

export interface ListedPlugin {
  readonly name: string
  readonly version: string | null
  readonly type: string | null
  readonly description: string | null
  readonly enabled: boolean
  readonly source: string
  readonly error: string | undefined
  /** JSON Schema of `plugins.configs.<name>.config`. */
  readonly config: object | undefined
}

/** Reads the definitions of all plugins; none is set up. */
export async function listPlugins(loaded: LoadedConfig): Promise<readonly ListedPlugin[]> {
  const log = createLogger({ level: "silent" })
  const metrics = new MetricStore()
  const ignore = () => {}
  const registry = createPluginHost({
    loaded,
    log,
    metrics,
    points: new PointBook({ clock: systemClock, log, metrics, withdraw: ignore }),
    // Switched off, a plugin is read and checked, and no more.
    entry: (name) => ({ ...(pluginSettings(loaded.config, name) ?? NO_ENTRY), enabled: false }),
    probation: () => defaultProbation(loaded.config),
    onSwap: ignore,
    onEvent: ignore,
    onMetric: ignore,
    onCacheEvent: ignore,
  })
  function configFault(name: string): string | undefined {
    const settings = pluginSettings(loaded.config, name)
    if (settings?.enabled !== true) return undefined
    try {
      resolveConfig(name, registry.configSchema(name), settings.config)
      return undefined
    } catch (thrown) {
      return messageOf(thrown)
    }
  }

  try {
    await registry.loadAll()
    return registry.list().map(({ name, version, type, description, source, error, bundled }) => ({
      name,
      version,
      type,
      description,
      source,
      enabled: pluginSettings(loaded.config, name)?.enabled ?? !bundled,
      error: error?.message ?? configFault(name),
      config: registry.configSchema(name),
    }))
  } finally {
    await registry.shutdownAll()
  }
}

const NO_ENTRY: PluginSettings = {
  enabled: false,
  config: {},
  dependencies: [],
  timeoutMs: 0,
  isolation: "inline",
}
