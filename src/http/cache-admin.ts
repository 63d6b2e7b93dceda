/** What operators do with the content of a cache plugin: look at it, and throw it away. */
import { Elysia } from "elysia"
import { GatewayError } from "../errors.ts"
import type { BoundCache } from "../plugin/bindings.ts"
import type { CacheStats } from "../plugin/contract.ts"
import type { HttpDeps } from "./deps.ts"
import { jsonReply } from "./reply.ts"

/** Must be used by an instance that authorises: its hooks are those of these routes. */
export function cacheAdmin(deps: HttpDeps) {
  return new Elysia({ name: "cache-admin" })
    .get("/admin/plugins/:name/cache", ({ params: { name } }) =>
      withCache(deps, name, async (cache) => {
        const stats = outcome(cache, "stats", await cache.stats.call())
        return jsonReply({ plugin: name, stats: statsBody(stats), distributed: cache.distributed })
      }),
    )
    .delete("/admin/plugins/:name/cache", ({ params: { name } }) =>
      withCache(deps, name, async (cache) => {
        outcome(cache, "clear", await cache.clear.call())
        return jsonReply({ message: "cache cleared", name })
      }),
    )
    .delete("/admin/plugins/:name/cache/:key", ({ params: { name, key } }) =>
      withCache(deps, name, async (cache) => {
        const deleted = outcome(cache, "delete", await cache.delete.call(key))
        if (deleted) {
          const timestamp = deps.clock.now()
          deps.call.cacheEvent({ plugin: name, eventType: "delete", key, timestamp })
        }
        return jsonReply({ plugin: name, key, deleted })
      }),
    )
}

/** Holds the plugins that are live now until `task` is done. */
async function withCache(
  { view, registry }: HttpDeps,
  name: string,
  task: (cache: BoundCache) => Promise<Response>,
): Promise<Response> {
  const { snapshot } = view()
  const cache = snapshot.caches.find((bound) => bound.name === name)
  if (cache === undefined) {
    const { type, state } = registry.getInfo(name)
    throw new GatewayError(
      "plugin_conflict",
      `plugin "${name}" is no active cache: its type is ${type ?? "not known"}, its state ${state}`,
    )
  }
  snapshot.retain()
  try {
    return await task(cache)
  } finally {
    snapshot.release()
  }
}

/** @throws GatewayError `plugin_failed` where the plugin gave nothing */
function outcome<T>({ name }: BoundCache, ability: string, result: T | undefined): T {
  if (result !== undefined) return result
  throw new GatewayError(
    "plugin_failed",
    `plugin "${name}" failed in cache.${ability}; its last error is at /admin/plugins/${name}`,
  )
}

function statsBody({ hits, misses, sets, deletes, sizeBytes, entries, evictions }: CacheStats) {
  return { hits, misses, sets, deletes, size_bytes: sizeBytes, entries, evictions }
}
