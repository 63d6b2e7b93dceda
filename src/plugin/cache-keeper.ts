/** What operators do with the content of a cache plugin: look at it, and throw it away. */
import type { Clock } from "../clock.ts"
import { GatewayError } from "../errors.ts"
import type { BoundCache } from "./bindings.ts"
import type { CacheEvent, CacheStats } from "./contract.ts"
import type { PluginRegistry } from "./registry.ts"

interface CacheKeeperOptions {
  readonly registry: PluginRegistry
  readonly clock: Clock
  onCacheEvent(event: CacheEvent): void
}

export interface CacheReading {
  readonly stats: CacheStats
  /** Whether all processes share what is in it. */
  readonly isDistributed: boolean
}

/** Every method throws a GatewayError: `plugin_conflict` where it is no active cache, `plugin_failed` where it failed. */
export class CacheKeeper {
  readonly #options: CacheKeeperOptions

  constructor(options: CacheKeeperOptions) {
    this.#options = options
  }

  isDistributed(name: string): boolean {
    return this.#find(name).distributed
  }

  read(name: string): Promise<CacheReading> {
    return this.#with(name, async (cache) => {
      const stats = outcome(cache, "stats", await cache.stats.call())
      return { stats, isDistributed: cache.distributed }
    })
  }

  clear(name: string): Promise<true> {
    return this.#with(name, async (cache) => outcome(cache, "clear", await cache.clear.call()))
  }

  /** @returns whether the entry was there */
  delete(name: string, key: string): Promise<boolean> {
    return this.#with(name, async (cache) => {
      const isDeleted = outcome(cache, "delete", await cache.delete.call(key))
      const { clock, onCacheEvent } = this.#options
      if (isDeleted) onCacheEvent({ plugin: name, eventType: "delete", key, timestamp: clock.now() })
      return isDeleted
    })
  }

  /** Holds the plugins that are live now until `task` is done. */
  async #with<T>(name: string, task: (cache: BoundCache) => Promise<T>): Promise<T> {
    const cache = this.#find(name)
    const snapshot = this.#options.registry.pin()
    try {
      return await task(cache)
    } finally {
      snapshot.release()
    }
  }

  #find(name: string): BoundCache {
    const { registry } = this.#options
    const cache = registry.current.caches.find((bound) => bound.name === name)
    if (cache !== undefined) return cache
    const { type, state } = registry.getInfo(name)
    throw new GatewayError(
      "plugin_conflict",
      `plugin "${name}" is no active cache: its type is ${type ?? "not known"}, its state ${state}`,
    )
  }
}

/** Of several processes, each with a cache of its own. */
export function sumStats(all: readonly CacheStats[]): CacheStats {
  const sum = (field: keyof CacheStats) => all.reduce((total, stats) => total + stats[field], 0)
  return {
    hits: sum("hits"),
    misses: sum("misses"),
    sets: sum("sets"),
    deletes: sum("deletes"),
    sizeBytes: sum("sizeBytes"),
    entries: sum("entries"),
    evictions: sum("evictions"),
  }
}

function outcome<T>({ name }: BoundCache, ability: string, result: T | undefined): T {
  if (result !== undefined) return result
  throw new GatewayError(
    "plugin_failed",
    `plugin "${name}" failed in cache.${ability}; its last error is at /admin/plugins/${name}`,
  )
}
