const DEFAULT_INTERVAL_MS = 1000

/** Lets one line of a kind through in each interval: what a plugin does all the time must not flood the log. */
export class LogPace {
  readonly #intervalMs: number
  #loggedAtMs = Number.NEGATIVE_INFINITY
  #suppressed = 0

  constructor(intervalMs = DEFAULT_INTERVAL_MS) {
    this.#intervalMs = intervalMs
  }

  /** @returns what belongs to the line, which is how many were held back since the last one; undefined to hold it back */
  next(nowMs: number): { readonly suppressed?: number } | undefined {
    if (nowMs - this.#loggedAtMs < this.#intervalMs) {
      this.#suppressed++
      return undefined
    }
    const suppressed = this.#suppressed
    this.#loggedAtMs = nowMs
    this.#suppressed = 0
    return suppressed > 0 ? { suppressed } : {}
  }
}
