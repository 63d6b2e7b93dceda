import type { Clock } from "../clock.ts"
import { GatewayError } from "../errors.ts"
import type { ProviderTimeouts } from "./provider.ts"

interface DeadlineOptions {
  readonly clock: Clock
  /** When the attempt began, on the monotonic clock. */
  readonly startMs: number
  readonly provider: string
  readonly timeouts: ProviderTimeouts
  /** What is awaited first: the first event of a stream, or a whole reply. */
  readonly awaits: "first_token" | "total"
  readonly abort: (reason: GatewayError) => void
}

/**
 * The time limits of one attempt behind one timer. The timer is not re-armed for each chunk: a chunk only
 * notes the time, and the timer looks, when it fires, whether the limit really passed.
 */
export class AttemptDeadline {
  readonly #options: DeadlineOptions
  #phase: "total" | "first_token" | "between_chunks"
  #sinceMs: number
  #isPaused = false
  #cancel: () => void

  constructor(options: DeadlineOptions) {
    this.#options = options
    this.#phase = options.awaits
    this.#sinceMs = options.startMs
    this.#cancel = this.#arm(Math.min(options.timeouts.totalMs, this.#limitMs()))
  }

  /** A chunk arrived: from now on silence is measured. */
  touch(): void {
    this.#sinceMs = this.#options.clock.monotonic()
    if (this.#phase === "between_chunks") return
    this.#phase = "between_chunks"
    this.#cancel()
    this.#cancel = this.#arm(this.#remainingMs())
  }

  /** Nobody reads now: the silence is the client's, so only the total counts until the next chunk is asked for. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#sinceMs = this.#options.clock.monotonic()
  }

  clear(): void {
    this.#cancel()
  }

  #arm(ms: number): () => void {
    return this.#options.clock.after(Math.max(0, ms), () => this.#look())
  }

  #remainingMs(): number {
    const { clock, startMs, timeouts } = this.#options
    const now = clock.monotonic()
    const total = startMs + timeouts.totalMs - now
    return Math.min(total, this.#sinceMs + this.#limitMs() - now)
  }

  #limitMs(): number {
    const { timeouts } = this.#options
    if (this.#phase === "first_token") return timeouts.firstTokenMs
    if (this.#phase === "between_chunks" && !this.#isPaused) return timeouts.betweenChunksMs
    return timeouts.totalMs
  }

  #look(): void {
    const remainingMs = this.#remainingMs()
    if (remainingMs > 1) {
      // A pause may end at any time, and then the short limit holds again.
      const { betweenChunksMs } = this.#options.timeouts
      this.#cancel = this.#arm(this.#isPaused ? Math.min(remainingMs, betweenChunksMs) : remainingMs)
      return
    }
    const { provider, timeouts, clock, startMs } = this.#options
    const isTotal = clock.monotonic() - startMs >= timeouts.totalMs - 1
    const limit = isTotal ? "total" : this.#phase
    const limitMs = isTotal ? timeouts.totalMs : this.#limitMs()
    this.#options.abort(
      new GatewayError(
        "upstream_timeout",
        `provider "${provider}" ${TEXTS[limit]} within ${limitMs} ms (timeout.${limit})`,
      ),
    )
  }
}

const TEXTS = {
  total: "did not finish its answer",
  first_token: "did not start its stream",
  between_chunks: "fell silent in mid-stream and did not go on",
} as const
