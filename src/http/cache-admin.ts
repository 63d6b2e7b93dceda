/** What operators do with the content of a cache plugin, in all processes. */
import type { PluginCommand } from "../fleet/commands.ts"
import { type CacheReading, sumStats } from "../plugin/cache-keeper.ts"
import type { CacheStats } from "../plugin/contract.ts"
import { adminRoutes } from "./admin-access.ts"
import type { HttpDeps } from "./deps.ts"
import { jsonReply } from "./reply.ts"

export function cacheAdmin(deps: HttpDeps) {
  return adminRoutes("cache-admin", deps)
    .get("/admin/plugins/:name/cache", async ({ params: { name } }) => {
      const { stats, isDistributed } = await readEverywhere(deps, name)
      return jsonReply({ plugin: name, stats: statsBody(stats), distributed: isDistributed })
    })
    .delete("/admin/plugins/:name/cache", async ({ params: { name } }) => {
      await runWhereKept(deps, { op: "clear-cache", name })
      return jsonReply({ message: "cache cleared", name })
    })
    .delete("/admin/plugins/:name/cache/:key", async ({ params: { name, key } }) => {
      const deleted = await runWhereKept(deps, { op: "delete-cached", name, key })
      return jsonReply({ plugin: name, key, deleted })
    })
}

async function readEverywhere({ fleet, caches }: HttpDeps, name: string): Promise<CacheReading> {
  const own = await caches.read(name)
  if (fleet.isAlone || own.isDistributed) return own
  const [, ...others] = await fleet.gather({ about: "cache", name })
  const all = [own, ...others.flatMap(({ value }) => value ?? [])]
  return { ...own, stats: sumStats(all.map(({ stats }) => stats)) }
}

/** What all processes share is thrown away once. */
function runWhereKept({ fleet, caches }: HttpDeps, command: PluginCommand): Promise<boolean> {
  return caches.isDistributed(command.name) ? fleet.runHere(command) : fleet.run(command)
}

function statsBody({ hits, misses, sets, deletes, sizeBytes, entries, evictions }: CacheStats) {
  return { hits, misses, sets, deletes, size_bytes: sizeBytes, entries, evictions }
}
