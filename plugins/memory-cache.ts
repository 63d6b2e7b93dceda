/** Keeps replies in the memory of this process. */
import { definePlugin, GatewayError, Type } from "leapgate/plugin"
import { LRUCache } from "lru-cache"

export default definePlugin({
  name: "memory-cache",
  version: "1.0.0",
  type: "cache",
  description: "Keeps replies in memory, up to a size and for a time",
  metadata: { tags: ["cache"] },
  config: Type.Object({
    max_size: Type.Bytes({ default: "64MiB", description: "Of all entries together" }),
    ttl: Type.Duration({ default: "5m", description: "How long an entry is kept at most" }),
    max_entry: Type.Bytes({ default: "1MiB", description: "Larger entries are not kept" }),
  }),

  setup({ config, emit }) {
    const { max_size: maxSize, max_entry: maxEntry, ttl } = config
    if (maxSize < 1 || maxEntry < 1 || ttl < 1) {
      throw new GatewayError(
        "plugin_config_invalid",
        'memory-cache: max_size, max_entry and ttl must be at least "1B" and "1ms"',
      )
    }
    const counts = { hits: 0, misses: 0, sets: 0, deletes: 0, evictions: 0 }
    const entries = new LRUCache<string, Uint8Array>({
      maxSize,
      maxEntrySize: Math.min(maxEntry, maxSize),
      sizeCalculation: sizeOf,
      ttl: Math.ceil(ttl),
      dispose(value, key, reason) {
        if (reason !== "evict" && reason !== "expire") return
        counts.evictions++
        emit.cacheEvent({ eventType: "evict", key, sizeBytes: value.byteLength })
      },
    })

    return {
      priority: 40,
      distributed: false,
      get(key) {
        const value = entries.get(key)
        if (value === undefined) counts.misses++
        else counts.hits++
        return value
      },
      set(key, value, { ttlMs }) {
        entries.set(key, value, ttlMs === undefined ? {} : { ttl: Math.max(1, Math.ceil(ttlMs)) })
        if (entries.peek(key) === value) counts.sets++
      },
      delete(key) {
        const wasThere = entries.delete(key)
        if (wasThere) counts.deletes++
        return wasThere
      },
      clear: () => entries.clear(),
      stats: () => ({ ...counts, sizeBytes: entries.calculatedSize, entries: entries.size }),
      // A disposed version may be held by its last request for a while; its entries need not.
      shutdown: () => entries.clear(),
    }
  },
})

function sizeOf(value: Uint8Array, key: string): number {
  return value.byteLength + key.length
}
