interface Expiring {
  readonly expiresAtMs: number
}

/**
 * Items by when they expire: a binary heap. An item that has gone elsewhere is not looked for; it is dropped
 * when it comes up, or when such items become the majority.
 */
export class ExpiryQueue<T extends Expiring> {
  readonly #isCurrent: (item: T) => boolean
  #heap: T[] = []
  #compactAt = MIN_COMPACT_LENGTH

  constructor(isCurrent: (item: T) => boolean) {
    this.#isCurrent = isCurrent
  }

  get length(): number {
    return this.#heap.length
  }

  add(item: T): void {
    if (this.#heap.length >= this.#compactAt) this.#compact()
    this.#heap.push(item)
    this.#rise(this.#heap.length - 1)
  }

  /** Takes out an item that has expired by then, the earliest first. */
  takeExpired(nowMs: number): T | undefined {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      const isCurrent = this.#isCurrent(first)
      if (isCurrent && first.expiresAtMs > nowMs) return undefined
      this.#removeFirst()
      if (isCurrent) return first
    }
    return undefined
  }

  clear(): void {
    this.#heap = []
  }

  #removeFirst(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    this.#sink(0)
  }

  #compact(): void {
    this.#heap = this.#heap.filter(this.#isCurrent)
    // A sorted array is a heap.
    this.#heap.sort((a, b) => a.expiresAtMs - b.expiresAtMs)
    this.#compactAt = Math.max(MIN_COMPACT_LENGTH, this.#heap.length * 2)
  }

  #rise(start: number): void {
    let index = start
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (this.#at(parent) <= this.#at(index)) return
      this.#swap(index, parent)
      index = parent
    }
  }

  #sink(start: number): void {
    let index = start
    for (;;) {
      const left = 2 * index + 1
      const smaller = this.#at(left + 1) < this.#at(left) ? left + 1 : left
      if (this.#at(index) <= this.#at(smaller)) return
      this.#swap(index, smaller)
      index = smaller
    }
  }

  #at(index: number): number {
    return this.#heap[index]?.expiresAtMs ?? Number.POSITIVE_INFINITY
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap
    const held = heap[a] as T
    heap[a] = heap[b] as T
    heap[b] = held
  }
}

const MIN_COMPACT_LENGTH = 64
