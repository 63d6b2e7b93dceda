/** Puts the plugin host together from the configuration. */
import { resolve } from "node:path"
import { bundledPlugins } from "./bundled.ts"
import { systemClock } from "./clock.ts"
import type { LoadedConfig } from "./config/load.ts"
import type { Config } from "./config/schema.ts"
import { messageOf } from "./errors.ts"
import type { BreakerEntry, BreakerSettings } from "./plugin/breaker.ts"
import type { CacheEvent, Metric, PluginLoadEvent } from "./plugin/contract.ts"
import { hardenGlobals } from "./plugin/hardening.ts"
import { registerHostModules } from "./plugin/host-modules.ts"
import type { PluginSettings } from "./plugin/instance.ts"
import { createModuleHost } from "./plugin/module-host.ts"
import { resolveConfig } from "./plugin/plugin-config.ts"
import { PointBook } from "./plugin/point.ts"
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
  onSwap(snapshot: Snapshot): void
  onEvent(event: PluginLoadEvent): void
  onMetric(metric: Metric): void
  onCacheEvent(event: CacheEvent): void
}

export function createPluginHost(options: PluginHostOptions): PluginRegistry {
  const { loaded, log, metrics, points, entry, onSwap, onEvent, onMetric, onCacheEvent } = options
  const { plugins } = loaded.config
  hardenGlobals()
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
    breaker: breakerOf(plugins.breaker),
    spawnWorker: () => new Worker(new URL("./plugin-worker.ts", import.meta.url)),
    entry,
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
  const { worker_memory: workerMemoryBytes } = entry
  const breaker = entry.breaker === undefined ? undefined : breakerEntryOf(entry.breaker)
  return {
    enabled,
    priority,
    config,
    dependencies,
    onError,
    timeoutMs,
    isolation,
    workerMemoryBytes,
    breaker,
  }
}

function breakerOf(breaker: Config["plugins"]["breaker"]): BreakerSettings | false {
  if (breaker === false) return false
  const { failures, window: windowMs, cool_down: coolDownMs } = breaker
  return { failures, windowMs, coolDownMs }
}

function breakerEntryOf(breaker: NonNullable<PluginEntry["breaker"]>): BreakerEntry {
  if (breaker === false) return false
  const { failures, window: windowMs, cool_down: coolDownMs } = breaker
  return {
    ...(failures !== undefined && { failures }),
    ...(windowMs !== undefined && { windowMs }),
    ...(coolDownMs !== undefined && { coolDownMs }),
  }
}

type PluginEntry = Config["plugins"]["configs"][string]

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
    points: new PointBook({ clock: systemClock, log, metrics, disable: ignore }),
    // Switched off, a plugin is read and checked, and no more.
    entry: (name) => ({ ...(pluginSettings(loaded.config, name) ?? NO_ENTRY), enabled: false }),
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
