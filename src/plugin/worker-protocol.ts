/** What the gateway and the worker of a plugin say to each other: plain data, as `postMessage` copies it. */
import type { CacheEvent, Metric } from "./contract.ts"
import type { Effects, Wire, WireError } from "./worker-wire.ts"

/** All that a worker needs to bring a plugin to life. */
export interface StartPlan {
  readonly name: string
  /** The built file to import; undefined for a plugin that is bundled under its name. */
  readonly artefact: string | undefined
  /** As it stands in the configuration: the worker decodes it itself, for the result may be no plain data. */
  readonly config: Readonly<Record<string, unknown>>
  readonly directory: string
  /** Deadline of each clean-up. */
  readonly cleanUpTimeoutMs: number
  /** The worker says when its heap is larger. */
  readonly memoryBytes: number | undefined
}

export type ToWorker =
  | { readonly kind: "start"; readonly plan: StartPlan }
  | { readonly kind: "call"; readonly id: number; readonly path: string; readonly args: readonly Wire[] }
  | { readonly kind: "abort"; readonly id: number; readonly reason: WireError }
  | { readonly kind: "answer"; readonly id: number; readonly outcome: Outcome<unknown> }
  | { readonly kind: "ping" }
  | { readonly kind: "dispose" }

export type FromWorker =
  | { readonly kind: "ready"; readonly shape: AbilityShape }
  | { readonly kind: "refused"; readonly stage: StartStage; readonly error: WireError }
  | {
      readonly kind: "done"
      readonly id: number
      readonly outcome: Outcome<Wire>
      readonly effects: readonly Effects[]
    }
  | { readonly kind: "pong" }
  | { readonly kind: "state"; readonly id: number; readonly request: StateRequest }
  | {
      readonly kind: "log"
      readonly level: LogMethod
      readonly message: string
      readonly fields: Readonly<Record<string, unknown>> | undefined
    }
  | { readonly kind: "metric"; readonly metric: Metric }
  | { readonly kind: "cacheEvent"; readonly event: CacheEvent }
  /** The plugin threw when nobody called it. */
  | { readonly kind: "late"; readonly error: WireError }
  | { readonly kind: "memory"; readonly bytes: number }
  | { readonly kind: "disposed" }

/** `setup` is the plugin's own doing, and reported like that of a plugin in the gateway. */
type StartStage = "load" | "setup" | "abilities"

export type Outcome<T> = { readonly value: T } | { readonly error: WireError }

export type LogMethod = "debug" | "info" | "warn" | "error"

export type StateRequest =
  | { readonly operation: "get" | "delete"; readonly key: string }
  | {
      readonly operation: "set"
      readonly key: string
      readonly value: unknown
      readonly options: { ttlMs?: number } | undefined
    }
  | {
      readonly operation: "increment"
      readonly key: string
      readonly options: { by?: number; ttlMs?: number } | undefined
    }

/** What `setup` returned: the names of its functions, and the values as they are. */
export interface AbilityShape {
  readonly functions: readonly string[]
  readonly hooks: readonly string[]
  readonly values: Readonly<Record<string, unknown>>
  /** The wire formats that a transform supports, asked beforehand: `supportsFormat` cannot wait. */
  readonly formats: readonly string[]
}

/** The path under which a hook is called. */
export const hookPath = (name: string): string => `hooks.${name}`
