/** What the admin API tells about a plugin; snake_case, as it goes over the wire. */
import type { ErrorCode } from "../errors.ts"
import type { Trip } from "./breaker.ts"
import type { PluginState, PluginType } from "./contract.ts"
import type { Canary, PluginRecord, RecordedError } from "./record.ts"
import type { PluginStats } from "./stats.ts"

export interface PluginInfo {
  readonly name: string
  /** Null until the plugin's definition could be read; so are the others that come from it. */
  readonly version: string | null
  readonly type: PluginType | null
  readonly description: string | null
  readonly enabled: boolean
  readonly state: PluginState
  /** When the version that serves was loaded, as ISO 8601. */
  readonly loaded_at: string | null
  readonly last_used: string | null
  readonly metrics: PluginMetricsInfo
  /** Why it is not active; of an active plugin, why its last reload failed. */
  readonly error: PluginErrorInfo | null
  /** The file, or `bundled:<name>`. */
  readonly source: string
  /** Comes with the gateway, so it is off unless the configuration names it. */
  readonly bundled: boolean
  readonly integrity: PluginIntegrityInfo
  /** The generation with which the version that serves came. */
  readonly generation: number | null
  readonly priority: number | null
  /** What a rollback would go back to. */
  readonly previous_version: string | null
  /** A newer version was rolled back: the file, or the configuration, is not what serves. */
  readonly serves_previous: boolean
  readonly canary: CanaryInfo | null
  readonly metadata: Readonly<Record<string, unknown>>
  readonly dependencies: Readonly<Record<string, string>>
  /** Where several processes serve: each one's view. */
  readonly processes?: readonly ProcessInfo[]
}

/** A new version that is tried by a share of the requests. */
interface CanaryInfo {
  readonly version: string
  /** Between 0 and 1. */
  readonly share: number
  readonly calls: number
  readonly errors: number
  readonly loaded_at: string
}

export interface ProcessInfo {
  readonly pid: number
  /** `unknown`: it did not answer in time. */
  readonly state: PluginState | "unknown"
  readonly version: string | null
  readonly generation: number | null
  readonly error: PluginErrorInfo | null
}

export interface PluginIntegrityInfo {
  /** One hash over the plugin's own files, packages not included; null for one that the gateway brings. */
  readonly sha256: string | null
  /** Whether its files and packages are as `plugins.lock` says; null where there is no lock to compare with. */
  readonly locked: boolean | null
}

export interface PluginMetricsInfo {
  readonly calls: number
  readonly errors: number
  readonly timeouts: number
  readonly total_time_ms: number
  readonly average_time_ms: number
  readonly last_error: { readonly message: string; readonly at: string } | null
  readonly last_call: string | null
}

interface PluginErrorInfo {
  readonly code: ErrorCode
  readonly message: string
  readonly at: string
  /** For faults in the source: `{ errors: [{ file, line, column, message }] }`. */
  readonly details?: unknown
}

interface PluginFacts {
  readonly record: PluginRecord
  readonly integrity: PluginIntegrityInfo
  readonly isEnabled: boolean
  readonly stats: PluginStats
  readonly dependencies: Readonly<Record<string, string>>
}

export function describePlugin(facts: PluginFacts): PluginInfo {
  const { record, integrity, isEnabled, stats, dependencies } = facts
  const { name, instance, manifest, source } = record
  const trip = instance?.breaker?.trip
  const state = trip === undefined ? record.state : "error"
  const error = trip === undefined ? record.error : tripped(trip)
  return {
    name,
    version: instance?.version ?? manifest?.version ?? null,
    type: manifest?.type ?? null,
    description: manifest?.description ?? null,
    enabled: isEnabled,
    state,
    loaded_at: isoTime(record.loadedAtMs),
    last_used: isoTime(stats.lastCallMs),
    metrics: describeStats(stats),
    error: error === undefined ? null : { ...error, at: new Date(error.at).toISOString() },
    source,
    bundled: record.isBundled,
    integrity,
    generation: record.generation ?? null,
    priority: instance?.priority ?? null,
    previous_version: record.previous?.manifest.version ?? null,
    serves_previous: record.release?.isRecalled ?? false,
    canary: record.canary === undefined ? null : describeCanary(record.canary),
    metadata: manifest?.metadata ?? {},
    dependencies,
  }
}

function tripped({ reason, untilMs, at }: Trip): RecordedError {
  const until = new Date(untilMs).toISOString()
  const message = `it kept failing and is switched off until ${until}, when one call is let through; the last failure: ${reason}`
  return { code: "plugin_failed", message, at, details: { until } }
}

function describeCanary({ instance, release, share }: Canary): CanaryInfo {
  return {
    version: instance.version,
    share,
    calls: instance.conduct.calls,
    errors: instance.conduct.failures,
    loaded_at: new Date(release.loadedAtMs).toISOString(),
  }
}

function describeStats({
  calls,
  errors,
  timeouts,
  totalTimeMs,
  lastError,
  lastCallMs,
}: PluginStats): PluginMetricsInfo {
  return {
    calls,
    errors,
    timeouts,
    total_time_ms: totalTimeMs,
    average_time_ms: calls === 0 ? 0 : totalTimeMs / calls,
    last_error: lastError === undefined ? null : { ...lastError, at: new Date(lastError.at).toISOString() },
    last_call: isoTime(lastCallMs),
  }
}

function isoTime(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}
