/** One series of a metric, bound once and then written to: the hot path of the metrics. */
export type Series = Counter | Gauge | Histogram | Observed

class Labelled {
  /** The label values, in the order of the metric's labels. */
  readonly values: readonly string[]
  /** The labels as the exposition writes them: `a="b",c="d"`. */
  readonly labelText: string

  constructor(values: readonly string[], labelText: string) {
    this.values = values
    this.labelText = labelText
  }
}

export class Counter extends Labelled {
  #value = 0

  get value(): number {
    return this.#value
  }

  /** A counter only grows; anything else is ignored. */
  add(n = 1): void {
    if (n > 0) this.#value += n
  }
}

export class Gauge extends Labelled {
  #value = 0

  get value(): number {
    return this.#value
  }

  set(value: number): void {
    this.#value = value
  }

  add(n: number): void {
    this.#value += n
  }
}

export class Histogram extends Labelled {
  /** How many records fell into each bucket, not cumulated; the last one is above every bound. */
  readonly counts: Float64Array
  readonly #bounds: Float64Array
  #sum = 0

  constructor(values: readonly string[], labelText: string, bounds: readonly number[]) {
    super(values, labelText)
    this.counts = new Float64Array(bounds.length + 1)
    this.#bounds = Float64Array.from(bounds)
  }

  get sum(): number {
    return this.#sum
  }

  get count(): number {
    return this.counts.reduce((total, count) => total + count, 0)
  }

  /** Negative and non-finite values are ignored: one of them would spoil the sum for good. */
  record(value: number): void {
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) return
    const bounds = this.#bounds
    // Measured: with under twenty bounds, counting up takes half the time of a binary search.
    let bucket = 0
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++
    this.counts[bucket] = (this.counts[bucket] as number) + 1
    this.#sum += value
  }
}

/** A value that is read when it is asked for. */
export class Observed extends Labelled {
  readonly #read: () => number

  constructor(values: readonly string[], labelText: string, read: () => number) {
    super(values, labelText)
    this.#read = read
  }

  /** NaN where reading fails: one broken callback must not cost the whole scrape. */
  get value(): number {
    try {
      return this.#read()
    } catch {
      return Number.NaN
    }
  }
}
