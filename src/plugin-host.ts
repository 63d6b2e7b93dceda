/** Puts the plugin host together. */
import { bundledPlugins } from "./bundled.ts"
import { systemClock } from "./clock.ts"
import type { LoadedConfig } from "./config/load.ts"
import type { CallRecorder } from "./plugin/call-recorder.ts"
import type { CacheEvent, Metric, PluginLoadEvent } from "./plugin/contract.ts"
import { hardenGlobals } from "./plugin/hardening.ts"
import { registerHostModules } from "./plugin/host-modules.ts"
import type { PluginSettings } from "./plugin/instance.ts"
import { createModuleHost } from "./plugin/module-host.ts"
import type { PointBook } from "./plugin/point.ts"
import type { ProbationRule } from "./plugin/probation.ts"
import { PluginRegistry } from "./plugin/registry.ts"
import type { Step } from "./plugin/release-key.ts"
import type { Snapshot } from "./plugin/snapshot.ts"
import { defaultBreaker, pluginDirectory } from "./plugin-settings.ts"
import { createMemoryStore } from "./state/store.ts"
import type { Logger } from "./telemetry/logger.ts"
import type { MetricStore } from "./telemetry/store.ts"

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
  onTakenBack(plugin: string, step: Step, reason: string): void
  onMetric(metric: Metric): void
  onCacheEvent(event: CacheEvent): void
}

export function createPluginHost(options: PluginHostOptions): PluginRegistry {
  const { loaded, log, metrics, points, recorder, entry, packages, probation } = options
  const { onSwap, onEvent, onTakenBack, onMetric, onCacheEvent } = options
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
    breaker: defaultBreaker(loaded.config),
    spawnWorker: () => new Worker(new URL("./plugin-worker.ts", import.meta.url)),
    entry,
    probation,
    random: Math.random,
    onSwap,
    onEvent,
    onTakenBack,
    emitMetric: (_plugin, metric) => onMetric(metric),
    emitCacheEvent: onCacheEvent,
  })
}
