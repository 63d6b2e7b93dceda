/** Counters and values that outlive the plugin that keeps them. */
import type { Clock } from "../clock.ts"
import { GatewayError, messageOf } from "../errors.ts"
import { ExpiryQueue } from "./expiry-queue.ts"

type Awaitable<T> = T | Promise<T>

interface CounterValue {
  readonly value: number
  /** Milliseconds since the epoch; Infinity: never. */
  readonly expiresAtMs: number
}

interface SetOptions {
  readonly ttlMs?: number
}

interface IncrementOptions {
  readonly by?: number
  readonly ttlMs?: number
}

export interface StateStore {
  get(key: string): Awaitable<unknown>
  set(key: string, value: unknown, options?: SetOptions): Awaitable<void>
  delete(key: string): Awaitable<boolean>
  /** Adds to a counter, which starts at 0. `ttlMs` counts from its creation, so a fixed window needs no second key. */
  increment(key: string, options?: IncrementOptions): Awaitable<CounterValue>
  /** The same store under a prefix: the same prefix sees the same entries, another one never does. */
  namespace(prefix: string): StateStore
  /** Lets go of everything this store holds, its namespaces included. */
  close(): void
}

/** Answers at once, always. */
export interface MemoryStore extends StateStore {
  get(key: string): unknown
  set(key: string, value: unknown, options?: SetOptions): void
  delete(key: string): boolean
  increment(key: string, options?: IncrementOptions): CounterValue
  namespace(prefix: string): MemoryStore
  /** Entries held, expired ones that nobody met yet included. Without those of namespaces. */
  readonly size: number
  /** Live entries that were thrown out because the store was full. */
  readonly evictions: number
}

interface MemoryStoreOptions {
  readonly clock: Clock
  /** For each namespace, so that one with many keys cannot push out another's. */
  readonly maxEntries?: number
}

interface Entry {
  readonly key: string
  value: unknown
  readonly expiresAtMs: number
  /** Written to since eviction last passed it. */
  isRenewed: boolean
}

/**
 * State in this process. Values are copied on their way in and out, as they would be with a state server, so
 * they must be plain data; an object of a plugin's own would also keep its old version in memory.
 */
export function createMemoryStore({ clock, maxEntries = 100_000 }: MemoryStoreOptions): MemoryStore {
  /** In order of the keys' creation. Written in place: to delete and set one key again and again is slow. */
  const entries = new Map<string, Entry>()
  let oldest = entries.values()
  const expiries = new ExpiryQueue<Entry>((entry) => entries.get(entry.key) === entry)
  const namespaces = new Map<string, MemoryStore>()
  const limit = Math.max(1, maxEntries)
  let evictions = 0

  return {
    get: (key) => copyOf(key, find(key)?.value),
    set,
    delete: remove,
    increment,
    namespace,
    close,
    get size() {
      return entries.size
    },
    get evictions() {
      return evictions
    },
  }

  function set(key: string, value: unknown, { ttlMs }: SetOptions = {}): void {
    const copy = copyOf(key, value)
    const expiresAtMs = expiry(key, ttlMs)
    const isRenewed = find(key) !== undefined
    put({ key, value: copy, expiresAtMs, isRenewed })
  }

  function remove(key: string): boolean {
    const isLive = find(key) !== undefined
    entries.delete(key)
    return isLive
  }

  function increment(key: string, { by = 1, ttlMs }: IncrementOptions = {}): CounterValue {
    if (!Number.isFinite(by)) throw misuse(`state counter "${key}" cannot grow by ${by}`)
    const known = find(key)
    const entry = known ?? put({ key, value: 0, expiresAtMs: expiry(key, ttlMs), isRenewed: false })
    if (typeof entry.value !== "number") {
      throw misuse(
        `state key "${key}" holds no number, so it cannot be incremented; delete it or use another key`,
      )
    }
    const value = entry.value + by
    entry.value = value
    entry.isRenewed = known !== undefined
    return { value, expiresAtMs: entry.expiresAtMs }
  }

  function namespace(prefix: string): MemoryStore {
    const known = namespaces.get(prefix)
    if (known !== undefined) return known
    const created = createMemoryStore({ clock, maxEntries })
    namespaces.set(prefix, created)
    return created
  }

  function close(): void {
    for (const inner of namespaces.values()) inner.close()
    namespaces.clear()
    entries.clear()
    expiries.clear()
  }

  function find(key: string): Entry | undefined {
    const entry = entries.get(key)
    if (entry === undefined || entry.expiresAtMs > clock.now()) return entry
    entries.delete(key)
    return undefined
  }

  function put(entry: Entry): Entry {
    removeExpired()
    if (entries.size >= limit && !entries.has(entry.key)) evictOldest()
    entries.set(entry.key, entry)
    if (entry.expiresAtMs < Number.POSITIVE_INFINITY) expiries.add(entry)
    return entry
  }

  /** Two for each new entry: they vanish faster than they come, with neither timers nor a pause to sweep. */
  function removeExpired(): void {
    const nowMs = clock.now()
    for (let count = 0; count < 2; count++) {
      const expired = expiries.takeExpired(nowMs)
      if (expired === undefined) return
      entries.delete(expired.key)
    }
  }

  /**
   * The oldest that was not written to since its last turn: under a flood of new keys, counters in use stay.
   * The walk goes on where it ended, since the start of the map fills up with holes.
   */
  function evictOldest(): void {
    for (;;) {
      const { value: entry, done } = oldest.next()
      if (done) oldest = entries.values()
      else if (entry.isRenewed) entry.isRenewed = false
      else {
        entries.delete(entry.key)
        evictions++
        return
      }
    }
  }

  function expiry(key: string, ttlMs: number | undefined): number {
    if (ttlMs === undefined) return Number.POSITIVE_INFINITY
    if (!(ttlMs > 0)) throw misuse(`state key "${key}" cannot live ${ttlMs} ms; give a ttlMs above 0`)
    return clock.now() + ttlMs
  }
}

function copyOf(key: string, value: unknown): unknown {
  if (typeof value !== "object" && typeof value !== "function") return value
  try {
    return structuredClone(value)
  } catch (cause) {
    throw misuse(`state key "${key}" can hold plain data only: ${messageOf(cause)}`, cause)
  }
}

function misuse(message: string, cause?: unknown): GatewayError {
  return new GatewayError("plugin_failed", message, { cause })
}
