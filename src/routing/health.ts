/** Whether providers can serve. Whoever checks one records it under the provider's name; routing asks here. */
import type { Clock } from "../clock.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { MetricStore } from "../telemetry/store.ts"
import type { Candidate } from "./catalog.ts"

export interface HealthState {
  /** `unknown` until the first check is over. */
  readonly status: "healthy" | "unhealthy" | "unknown"
  /** Why it is unhealthy. */
  readonly reason: string | undefined
  /** Milliseconds since the epoch. */
  readonly checkedAtMs: number | undefined
  /** When it came to be so, in milliseconds since the epoch. */
  readonly sinceMs: number
}

/** What is known about providers that are checked; of the others nothing is. */
export interface ProviderHealth {
  of(provider: string): HealthState | undefined
  /** The same candidates, with those that cannot serve behind the others. */
  healthyFirst(candidates: readonly Candidate[]): readonly Candidate[]
}

interface HealthBookOptions {
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: MetricStore
}

interface Entry {
  state: HealthState
  /** Takes the metric away. */
  hide: (() => void) | undefined
}

export class HealthBook implements ProviderHealth {
  readonly #options: HealthBookOptions
  readonly #entries = new Map<string, Entry>()
  readonly #unhealthy = new Set<string>()

  constructor(options: HealthBookOptions) {
    this.#options = options
  }

  of(provider: string): HealthState | undefined {
    return this.#entries.get(provider)?.state
  }

  healthyFirst(candidates: readonly Candidate[]): readonly Candidate[] {
    if (this.#unhealthy.size === 0 || candidates.length < 2) return candidates
    const isUnhealthy = ({ provider }: Candidate) => this.#unhealthy.has(provider.name)
    const behind = candidates.filter(isUnhealthy)
    if (behind.length === 0) return candidates
    return [...candidates.filter((candidate) => !isUnhealthy(candidate)), ...behind]
  }

  /** A provider will be checked. What is known of one with its name holds until then. */
  expect(provider: string): void {
    if (this.#entries.has(provider)) return
    const sinceMs = this.#options.clock.now()
    const state: HealthState = { status: "unknown", reason: undefined, checkedAtMs: undefined, sinceMs }
    this.#entries.set(provider, { state, hide: undefined })
  }

  /** @param fault why it cannot serve; undefined where it can */
  record(provider: string, fault: string | undefined): void {
    this.expect(provider)
    const entry = this.#entries.get(provider)
    if (entry === undefined) return
    const { clock, metrics } = this.#options
    const old = entry.state
    const nowMs = clock.now()
    const status = fault === undefined ? "healthy" : "unhealthy"
    const sinceMs = status === old.status ? old.sinceMs : nowMs
    entry.state = { status, reason: fault, checkedAtMs: nowMs, sinceMs }
    entry.hide ??= metrics.observe("gateway.provider.health", { provider }, () =>
      entry.state.status === "healthy" ? 1 : 0,
    )
    if (fault === undefined) this.#unhealthy.delete(provider)
    else this.#unhealthy.add(provider)
    this.#tell(provider, old, entry.state)
  }

  forget(provider: string): void {
    this.#entries.get(provider)?.hide?.()
    this.#entries.delete(provider)
    this.#unhealthy.delete(provider)
  }

  #tell(provider: string, old: HealthState, { status, reason }: HealthState): void {
    if (status === old.status) return
    const { log } = this.#options
    if (status === "unhealthy") log.warn("a provider cannot serve", { provider, reason })
    else if (old.status === "unhealthy") log.info("a provider can serve again", { provider })
  }
}
