/** Keeps replies in memory, up to a number of them; the one that was not asked for longest goes first. */
import { type CacheStats, definePlugin, Type } from "leapgate/plugin"

interface Entry {
  readonly value: Uint8Array
  readonly expiresAtMs: number
}

export default definePlugin({
  name: "template-cache",
  version: "1.0.0",
  type: "cache",
  description: "Keeps replies in memory",
  config: Type.Object({
    entries: Type.Integer({ minimum: 1, default: 1000, description: "As many are kept" }),
    ttl: Type.Duration({ default: "10m", description: "How long, where the gateway does not say" }),
  }),

  setup({ config }) {
    // A Map keeps its keys in the order in which they were set.
    const kept = new Map<string, Entry>()
    const counts = { hits: 0, misses: 0, sets: 0, deletes: 0, evictions: 0 }

    return {
      // Whether several gateways share what is kept.
      distributed: false,

      // The gateway makes keys and values; neither means anything here.
      get(key) {
        const entry = kept.get(key)
        if (entry === undefined || entry.expiresAtMs <= Date.now()) {
          kept.delete(key)
          counts.misses++
          return undefined
        }
        counts.hits++
        kept.delete(key)
        kept.set(key, entry)
        return entry.value
      },

      set(key, value, { ttlMs = config.ttl }) {
        counts.sets++
        kept.delete(key)
        kept.set(key, { value, expiresAtMs: Date.now() + ttlMs })
        const [oldest] = kept.keys()
        if (kept.size <= config.entries || oldest === undefined) return
        kept.delete(oldest)
        counts.evictions++
      },

      delete(key) {
        const wasThere = kept.delete(key)
        if (wasThere) counts.deletes++
        return wasThere
      },

      clear: () => kept.clear(),

      stats(): CacheStats {
        const sizes = [...kept.values()].map(({ value }) => value.byteLength)
        return { ...counts, entries: kept.size, sizeBytes: sizes.reduce((sum, size) => sum + size, 0) }
      },
    }
  },
})
