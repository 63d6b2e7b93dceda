/** Switches a plugin off that keeps failing, and lets it try again after a while. The instance stays loaded. */
import type { Clock } from "../clock.ts"
import type { FailurePlace, Judge } from "./conduct.ts"

export interface BreakerSettings {
  /** More than this many failures within the window trip it. */
  readonly failures: number
  readonly windowMs: number
  /** How long the plugin is left alone; doubled each time that its one try afterwards fails. */
  readonly coolDownMs: number
}

/** What one plugin says about its breaker; the rest comes from the default of all. */
export type BreakerEntry = Partial<BreakerSettings> | false

export function breakerSettings(
  entry: BreakerEntry | undefined,
  fallback: BreakerSettings | false,
): BreakerSettings | false {
  if (entry === undefined) return fallback
  return entry === false ? false : { ...(fallback || DEFAULT_BREAKER), ...entry }
}

export const DEFAULT_BREAKER: BreakerSettings = { failures: 10, windowMs: 30_000, coolDownMs: 60_000 }

interface BreakerOptions {
  readonly settings: BreakerSettings
  readonly clock: Clock
  /** Calls that ended since the plugin was loaded, well or not. */
  readonly calls: () => number
  readonly onTrip: (trip: Trip) => void
  readonly onRecover: () => void
}

/** Why a plugin is switched off, and until when. */
export interface Trip {
  readonly reason: string
  readonly coolDownMs: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly untilMs: number
}

const MAX_COOL_DOWN_MS = 600_000

/**
 * Trips where more than `failures` calls failed within the window, and at least half of all calls since the first
 * of them: a busy plugin of which one call in a thousand fails stays on. Also where the plugin threw as often in its
 * own timers and forgotten promises, whatever its calls did.
 */
export class Breaker implements Judge {
  readonly #options: BreakerOptions
  readonly #inCalls: RecentFailures
  readonly #outside: RecentFailures
  #trip: Trip | undefined
  #coolDownMs: number
  #isTrying = false

  constructor(options: BreakerOptions) {
    const { failures, windowMs, coolDownMs } = options.settings
    this.#options = options
    this.#coolDownMs = coolDownMs
    this.#inCalls = new RecentFailures(failures + 1, windowMs)
    this.#outside = new RecentFailures(failures + 1, windowMs)
  }

  /** Undefined while the plugin is on. */
  get trip(): Trip | undefined {
    return this.#trip
  }

  /** Whether a call may go through although the plugin is switched off: one may, when the cool-down is over. */
  admits(): boolean {
    if (this.#trip === undefined) return true
    if (this.#isTrying || this.#options.clock.now() < this.#trip.untilMs) return false
    this.#isTrying = true
    return true
  }

  /** How long the plugin is left alone from now on. */
  restMs(): number {
    return Math.max(0, (this.#trip?.untilMs ?? 0) - this.#options.clock.now())
  }

  called(): void {
    // That a call failed is told in the same turn, before or after this.
    if (this.#isTrying) queueMicrotask(() => this.#endTry())
  }

  failed(reason: string, place: FailurePlace): void {
    if (this.#trip !== undefined) {
      if (this.#isTrying) this.#switchOff(reason, Math.min(this.#coolDownMs * 2, MAX_COOL_DOWN_MS))
      return
    }
    const nowMs = this.#options.clock.now()
    const recent = place === "call" ? this.#inCalls : this.#outside
    const since = recent.add({ atMs: nowMs, calls: this.#options.calls() })
    if (since === undefined) return
    const failures = this.#options.settings.failures + 1
    const calls = this.#options.calls() - since.calls + 1
    if (place === "outside" || failures * 2 >= calls) this.#switchOff(reason, this.#coolDownMs)
  }

  /** Switches the plugin on again, as if nothing had been. */
  reset(): void {
    if (this.#trip === undefined) return
    this.#trip = undefined
    this.#isTrying = false
    this.#coolDownMs = this.#options.settings.coolDownMs
    this.#inCalls.clear()
    this.#outside.clear()
    this.#options.onRecover()
  }

  #endTry(): void {
    if (this.#isTrying) this.reset()
  }

  #switchOff(reason: string, coolDownMs: number): void {
    const at = this.#options.clock.now()
    this.#coolDownMs = coolDownMs
    this.#isTrying = false
    this.#trip = { reason, coolDownMs, at, untilMs: at + coolDownMs }
    this.#options.onTrip(this.#trip)
  }
}

interface Failure {
  readonly atMs: number
  /** How many calls had ended then. */
  readonly calls: number
}

/** The last failures, as many as trip the breaker. Calls cost nothing here, only failures do. */
class RecentFailures {
  readonly #limit: number
  readonly #windowMs: number
  #failures: Failure[] = []

  constructor(limit: number, windowMs: number) {
    this.#limit = limit
    this.#windowMs = windowMs
  }

  /** @returns the first of the last failures, where there were as many as the limit within the window */
  add(failure: Failure): Failure | undefined {
    this.#failures.push(failure)
    if (this.#failures.length > this.#limit) this.#failures.shift()
    const [first] = this.#failures
    if (first === undefined || this.#failures.length < this.#limit) return undefined
    return failure.atMs - first.atMs <= this.#windowMs ? first : undefined
  }

  clear(): void {
    this.#failures = []
  }
}
