/** Puts the plugin host together from the configuration. */
import { resolve } from "node:path"
import type { TObject } from "@sinclair/typebox"
import { bundledPlugins } from "./bundled.ts"
import { systemClock } from "./clock.ts"
import type { LoadedConfig } from "./config/load.ts"
import { type Config, PROBATION } from "./config/schema.ts"
import { messageOf } from "./errors.ts"
import type { BreakerEntry, BreakerSettings } from "./plugin/breaker.ts"
import type { CallRecorder } from "./plugin/call-recorder.ts"
import type { LockablePlugin } from "./plugin/catalogue.ts"
import type { CacheEvent, Metric, PluginLoadEvent } from "./plugin/contract.ts"
import { hardenGlobals } from "./plugin/hardening.ts"
import { registerHostModules } from "./plugin/host-modules.ts"
import type { PluginSettings } from "./plugin/instance.ts"
import { createModuleHost } from "./plugin/module-host.ts"
import { checkFailurePolicy, resolveConfig } from "./plugin/plugin-config.ts"
import type { PluginInfo } from "./plugin/plugin-info.ts"
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
  readonly recorder?: CallRecorder | undefined
  entry(name: string): PluginSettings | undefined
  /** What `plugins.packages` says now. */
  packages(): readonly string[]
  /** Of plugins whose entry does not say. */
  probation(): ProbationRule | undefined
  onSwap(snapshot: Snapshot): void
  onEvent(event: PluginLoadEvent): void
  onMetric(metric: Metric): void
  onCacheEvent(event: CacheEvent): void
}

export function createPluginHost(options: PluginHostOptions): PluginRegistry {
  const { loaded, log, metrics, points, recorder, entry, packages, probation } = options
  const { onSwap, onEvent, onMetric, onCacheEvent } = options
  const { plugins } = loaded.config
  hardenGlobals()
  registerHostModules()
  return new PluginRegistry({
    log,
    metrics,
    points,
    recorder,
    clock: systemClock,
    state: createMemoryStore({ clock: systemClock }),
    moduleHost: createModuleHost(),
    directory: pluginDirectory(loaded),
    bundled: bundledPlugins(),
    packages,
    isLocked: plugins.locked,
    maxPlugins: plugins.max_plugins,
    maxConcurrent: plugins.max_concurrent,
    setupTimeoutMs: plugins.timeout,
    drainTimeoutMs: plugins.drain_timeout,
    breaker: breakerOf(plugins.breaker),
    spawnWorker: () => new Worker(new URL("./plugin-worker.ts", import.meta.url)),
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
  const { enabled, priority, config, dependencies, load_after: loadAfter, isolation, canary } = entry
  const { on_error: onError, timeout: timeoutMs, worker_memory: workerMemoryBytes } = entry
  const breaker = entry.breaker === undefined ? undefined : breakerEntryOf(entry.breaker)
  const { calls, max_errors: maxErrors } = { ...(plugins.probation || PROBATION), ...entry.probation }
  const probation = entry.probation && { calls, maxErrors }
  return {
    enabled,
    priority,
    config,
    dependencies,
    loadAfter,
    onError,
    timeoutMs,
    isolation,
    workerMemoryBytes,
    breaker,
    probation,
    canary,
  }
}

/** What holds for plugins whose entry does not say. */
export function defaultProbation({ plugins: { probation } }: Config): ProbationRule | undefined {
  return probation === false ? undefined : { calls: probation.calls, maxErrors: probation.max_errors }
}

/** Whether an auth plugin that serves now goes on to under another configuration. */
export function keepsAuthPlugin(registry: PluginRegistry, next: Config): boolean {
  return registry.current.auths.some(({ name }) => {
    const { bundled } = registry.getInfo(name)
    return pluginSettings(next, name)?.enabled ?? !bundled
  })
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
      enabled: pluginSettings(loaded.config, name)?.enabled ?? !bundled,
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
    entry: (name) => ({ ...(pluginSettings(loaded.config, name) ?? NO_ENTRY), enabled: false }),
    probation: () => defaultProbation(loaded.config),
    onSwap: ignore,
    onEvent: ignore,
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

const NO_ENTRY: PluginSettings = {
  enabled: false,
  config: {},
  dependencies: [],
  timeoutMs: 0,
  isolation: "inline",
}
