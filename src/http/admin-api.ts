/** The plugin administration of the guide: `/admin/plugins`. */
import type { HookReading } from "../plugin/hook-stats.ts"
import type { PluginInfo } from "../plugin/plugin-info.ts"
import type { PointStats } from "../plugin/point.ts"
import { adminRoutes } from "./admin-access.ts"
import type { HttpDeps } from "./deps.ts"
import { gatherHooks, gatherPlugin, gatherPlugins } from "./gathered.ts"
import { jsonReply } from "./reply.ts"

export function adminApi(deps: HttpDeps) {
  const { fleet, registry } = deps
  return adminRoutes("admin-api", deps)
    .get("/admin/plugins", async () => {
      const plugins = (await gatherPlugins(deps)).map((info) => withHealth(info, deps))
      return jsonReply({ plugins, count: plugins.length })
    })
    .get("/admin/plugins/hooks/stats", async () => jsonReply({ hooks: hooksBody(await gatherHooks(deps)) }))
    .get("/admin/plugins/:name", async ({ params }) =>
      jsonReply(withHealth(await gatherPlugin(deps, params.name), deps)),
    )
    .get("/admin/plugins/:name/metrics", async ({ params: { name } }) => {
      const { metrics } = await gatherPlugin(deps, name)
      return jsonReply({ plugin: name, metrics })
    })
    .post("/admin/plugins/:name/enable", async ({ params: { name } }) => {
      await fleet.run({ op: "enable", name })
      return jsonReply({ message: "plugin enabled", name })
    })
    .post("/admin/plugins/:name/disable", async ({ params: { name }, request }) => {
      await fleet.run({ op: "disable", name, force: isForced(request) })
      return jsonReply({ message: "plugin disabled", name })
    })
    .post("/admin/plugins/:name/reload", async ({ params: { name } }) => {
      await fleet.run({ op: "reload", name })
      return jsonReply({ message: "plugin reloaded", name })
    })
    .post("/admin/plugins/:name/rollback", async ({ params: { name } }) => {
      await fleet.run({ op: "rollback", name, step: registry.wayBack(name) })
      return jsonReply({ message: "plugin rolled back", name, version: registry.getInfo(name).version })
    })
    .post("/admin/plugins/:name/promote", async ({ params: { name } }) => {
      await fleet.run({ op: "promote", name, to: registry.promotable(name) })
      return jsonReply({ message: "plugin promoted", name, version: registry.getInfo(name).version })
    })
}

/** What is known of a provider's health; null for plugins that are not checked. */
function withHealth(info: PluginInfo, { call }: HttpDeps) {
  const known = info.type === "provider" ? call.health.of(info.name) : undefined
  if (known === undefined) return { ...info, health: null }
  const { status, reason = null, checkedAtMs, sinceMs } = known
  const checked_at = checkedAtMs === undefined ? null : new Date(checkedAtMs).toISOString()
  return { ...info, health: { status, reason, checked_at, since: new Date(sinceMs).toISOString() } }
}

function hooksBody(hooks: HookReading) {
  return Object.fromEntries(
    Object.entries(hooks).map(([hook, { registered, plugins }]) => {
      const bodies = Object.entries(plugins).map(([plugin, stats]) => [plugin, statsBody(stats)])
      return [hook, { registered, plugins: Object.fromEntries(bodies) }]
    }),
  )
}

function statsBody({ calls, errors, timeouts, totalTimeMs }: PointStats) {
  return {
    calls,
    errors,
    timeouts,
    total_time_ms: totalTimeMs,
    average_time_ms: calls > 0 ? totalTimeMs / calls : 0,
  }
}

function isForced(request: Request): boolean {
  return new URL(request.url).searchParams.get("force") === "true"
}
