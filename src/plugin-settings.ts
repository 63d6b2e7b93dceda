/** What the configuration says about plugins, as the plugin host takes it. */
import { resolve } from "node:path"
import type { LoadedConfig } from "./config/load.ts"
import { type Config, PROBATION } from "./config/schema.ts"
import type { BreakerEntry, BreakerSettings } from "./plugin/breaker.ts"
import type { PluginSettings } from "./plugin/instance.ts"
import type { PluginInfo } from "./plugin/plugin-info.ts"
import type { ProbationRule } from "./plugin/probation.ts"
import type { PluginRegistry } from "./plugin/registry.ts"

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

/** Whether a plugin is switched on by a configuration: without an entry, those that do not come with the gateway are. */
export function isEnabledBy(
  config: Config,
  { name, bundled }: Pick<PluginInfo, "name" | "bundled">,
): boolean {
  return pluginSettings(config, name)?.enabled ?? !bundled
}

/** Whether an auth plugin that serves now goes on to under another configuration. */
export function keepsAuthPlugin(registry: PluginRegistry, next: Config): boolean {
  return registry.current.auths.some(({ name }) => isEnabledBy(next, registry.getInfo(name)))
}

/** The probation of plugins whose entry does not say. */
export function defaultProbation({ plugins: { probation } }: Config): ProbationRule | undefined {
  return probation === false ? undefined : { calls: probation.calls, maxErrors: probation.max_errors }
}

/** The breaker of plugins whose entry does not say. */
export function defaultBreaker({ plugins: { breaker } }: Config): BreakerSettings | false {
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
