import type { Clock } from "../clock.ts"
import type { StateStore } from "../state/store.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { MetricStore } from "../telemetry/store.ts"
import type { BreakerSettings } from "./breaker.ts"
import type { CallRecorder } from "./call-recorder.ts"
import type { CacheEvent, Metric, PluginDefinition, SetupContext } from "./contract.ts"
import type { Lifetime } from "./lifetime.ts"
import type { ModuleHost } from "./module-host.ts"
import type { Watchdog } from "./watchdog.ts"

/** What the gateway lends to plugins. */
export interface PluginServices {
  readonly log: Logger
  readonly clock: Clock
  readonly state: StateStore
  /** The plugin directory, absolute. */
  readonly directory: string
  readonly moduleHost: ModuleHost
  /** Deadline of a plugin's import, its `setup`, and each of its clean-ups. */
  readonly setupTimeoutMs: number
  readonly recorder?: CallRecorder | undefined
  /** For plugins that say nothing of it. */
  readonly breaker?: BreakerSettings | false | undefined
  /** Starts the program of `plugin-worker.ts`; without it, no plugin can run in a worker. */
  readonly spawnWorker?: (() => Worker) | undefined
  readonly metrics?: MetricStore | undefined
  readonly watchdog?: Watchdog | undefined
  readonly emitMetric: (plugin: string, metric: Metric) => void
  readonly emitCacheEvent: (event: CacheEvent) => void
}

interface ContextOptions {
  readonly definition: PluginDefinition
  readonly lifetime: Lifetime
  readonly config: unknown
}

/**
 * What `setup` receives. Every service is called as the host: whatever it opens in passing, such as a timer or
 * a connection, is shared and must not go when this plugin goes.
 */
export function setupContext(
  { definition: { name, version }, lifetime, config }: ContextOptions,
  { log, state, clock, directory, moduleHost, emitMetric, emitCacheEvent }: PluginServices,
): SetupContext {
  const { outside } = moduleHost
  const lines = log.child({ plugin: name })
  const store = state.namespace(name)
  return Object.freeze({
    name,
    version,
    config,
    directory,
    signal: lifetime.signal,
    log: Object.freeze<SetupContext["log"]>({
      debug: (message, fields) => outside(() => lines.debug(message, fields)),
      info: (message, fields) => outside(() => lines.info(message, fields)),
      warn: (message, fields) => outside(() => lines.warn(message, fields)),
      error: (message, fields) => outside(() => lines.error(message, fields)),
    }),
    state: Object.freeze<SetupContext["state"]>({
      get: (key) => outside(() => store.get(key)),
      set: (key, value, options) => outside(() => store.set(key, value, options)),
      delete: (key) => outside(() => store.delete(key)),
      increment: (key, options) => outside(() => store.increment(key, options)),
    }),
    emit: Object.freeze<SetupContext["emit"]>({
      metric: (metric) => outside(() => emitMetric(name, metric)),
      cacheEvent: (event) =>
        outside(() => emitCacheEvent({ ...event, plugin: name, timestamp: clock.now() })),
    }),
    onDispose: (cleanup) => lifetime.onEnd(cleanup),
  })
}
