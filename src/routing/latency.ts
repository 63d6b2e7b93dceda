/** How quickly each provider answered lately: an exponentially weighted mean of the time to its first token. */
export class LatencyBook {
  readonly #meanMs = new Map<string, number>()

  record(provider: string, latencyMs: number): void {
    const mean = this.#meanMs.get(provider)
    this.#meanMs.set(provider, mean === undefined ? latencyMs : mean + (latencyMs - mean) * WEIGHT)
  }

  meanMs(provider: string): number | undefined {
    return this.#meanMs.get(provider)
  }
}

const WEIGHT = 0.2
