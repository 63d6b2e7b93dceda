import type { PluginInstance } from "./instance.ts"
import type { Snapshot } from "./snapshot.ts"

/** A version that stands in the place of the one that serves, for a share of the requests. */
export interface CanaryShare {
  readonly instance: PluginInstance
  /** Between 0 and 1. */
  readonly share: number
}

interface CanaryDrawOptions {
  readonly canaries: readonly CanaryShare[]
  /** 0 to 1, evenly. */
  readonly random: () => number
  /** Makes the snapshot in which these stand in the place of what serves. */
  compile(drawn: readonly PluginInstance[]): Snapshot
}

/** Every further combination of canaries is served without any. */
const MAX_COMBINATIONS = 64

/** Draws, for each request, which of the canaries of one generation serve it. */
export class CanaryDraw {
  readonly #options: CanaryDrawOptions
  readonly #compiled = new Map<string, Snapshot>()
  #isClosed = false

  constructor(options: CanaryDrawOptions) {
    this.#options = options
  }

  /** The snapshot for one request; undefined for the one without canaries. */
  draw(): Snapshot | undefined {
    const { canaries, random, compile } = this.#options
    const drawn = canaries.filter(({ share }) => random() < share)
    if (drawn.length === 0 || this.#isClosed) return undefined
    const key = drawn.map((canary) => canaries.indexOf(canary)).join()
    const known = this.#compiled.get(key)
    if (known !== undefined || this.#compiled.size === MAX_COMBINATIONS) return known
    const snapshot = compile(drawn.map(({ instance }) => instance))
    this.#compiled.set(key, snapshot)
    return snapshot
  }

  /** Ends the drawing; returns the snapshots that were drawn so far. */
  close(): readonly Snapshot[] {
    this.#isClosed = true
    return [...this.#compiled.values()]
  }
}
