/** First in, first out, up to a limit; above it the oldest goes. Taking and dropping cost no moving of the rest. */
export class BoundedQueue<T> {
  readonly #limit: number
  #items: (T | undefined)[] = []
  /** Where the oldest item stands; what is before it has been taken. */
  #head = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#items.length - this.#head
  }

  /** @returns how many items had to go: 0 or 1 */
  push(item: T): number {
    this.#items.push(item)
    if (this.size <= this.#limit) return 0
    this.#advance(1)
    return 1
  }

  /** The oldest items, at most `count` of them. */
  take(count: number): readonly T[] {
    const taken = this.#items.slice(this.#head, this.#head + count) as T[]
    this.#advance(taken.length)
    return taken
  }

  #advance(count: number): void {
    this.#items.fill(undefined, this.#head, this.#head + count)
    this.#head += count
    if (this.#head < this.#limit && this.size > 0) return
    this.#items = this.#items.slice(this.#head)
    this.#head = 0
  }
}
