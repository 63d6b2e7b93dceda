/** The plugin administration of the guide: `/admin/plugins`. */
import { HOOK_NAMES } from "../plugin/contract.ts"
import type { PointStats } from "../plugin/point.ts"
import { authoriseAdmin } from "./admin-access.ts"
import type { HttpDeps } from "./deps.ts"
import { ownRoutes } from "./operations.ts"
import { jsonReply } from "./reply.ts"

export function adminApi(deps: HttpDeps) {
  const { registry } = deps
  return ownRoutes("admin-api")
    .onBeforeHandle(function authorise({ exchange }) {
      return authoriseAdmin(exchange, deps)
    })
    .get("/admin/plugins", () => {
      const plugins = registry.list()
      return jsonReply({ plugins, count: plugins.length })
    })
    .get("/admin/plugins/hooks/stats", () => jsonReply({ hooks: hookStats(deps) }))
    .get("/admin/plugins/:name", ({ params }) => jsonReply(registry.getInfo(params.name)))
    .get("/admin/plugins/:name/metrics", ({ params: { name } }) =>
      jsonReply({ plugin: name, metrics: registry.getInfo(name).metrics }),
    )
    .post("/admin/plugins/:name/enable", async ({ params: { name } }) => {
      await registry.enable(name)
      return jsonReply({ message: "plugin enabled", name })
    })
    .post("/admin/plugins/:name/disable", async ({ params: { name }, request }) => {
      await registry.disable(name, { force: isForced(request) })
      return jsonReply({ message: "plugin disabled", name })
    })
    .post("/admin/plugins/:name/reload", async ({ params: { name } }) => {
      await registry.reload(name)
      return jsonReply({ message: "plugin reloaded", name })
    })
}

/** For every hook: how many plugins are registered for it now, and what its calls took since the start. */
function hookStats({ points, view }: HttpDeps) {
  const { hooks } = view().snapshot
  return Object.fromEntries(
    HOOK_NAMES.map((hook) => {
      const records = [...points.records()].filter(({ point }) => point === hook)
      return [
        hook,
        {
          registered: hooks[hook].length,
          plugins: Object.fromEntries(records.map(({ plugin, stats }) => [plugin, statsBody(stats)])),
        },
      ]
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
