/** The plugin administration of the guide: `/admin/plugins`. */
import { GatewayError } from "../errors.ts"
import { HOOK_NAMES } from "../plugin/contract.ts"
import type { PointStats } from "../plugin/point.ts"
import type { HttpDeps } from "./deps.ts"
import type { Exchange } from "./exchange.ts"
import { isLoopbackAddress } from "./host-guard.ts"
import { isSameSecret } from "./key-ring.ts"
import { ownRoutes } from "./operations.ts"
import { jsonReply } from "./reply.ts"

export function adminApi(deps: HttpDeps) {
  const { registry } = deps
  return adminRoutes("admin-api", deps)
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
    .post("/admin/plugins/:name/rollback", async ({ params: { name } }) => {
      const { version } = await registry.rollback(name)
      return jsonReply({ message: "plugin rolled back", name, version })
    })
    .post("/admin/plugins/:name/promote", async ({ params: { name } }) => {
      const { version } = await registry.promote(name)
      return jsonReply({ message: "plugin promoted", name, version })
    })
}

/** Routes that are there for operators only. */
export function adminRoutes<const N extends string>(name: N, deps: HttpDeps) {
  return ownRoutes(name).onBeforeHandle(function authoriseAdmin({ exchange }) {
    authorise(exchange, deps)
  })
}

/** With a token: that token. Without: callers on this machine that use a loopback name, no proxy, and are no page. */
function authorise(exchange: Exchange, deps: HttpDeps): void {
  const { adminToken } = exchange.view.settings
  const { headers } = exchange.request
  if (adminToken !== "") {
    const sent = /^Bearer (.+)$/i.exec(headers.get("authorization") ?? "")?.[1]
    if (sent !== undefined && isSameSecret(sent.trim(), adminToken)) return
    throw new GatewayError(
      "admin_unauthorized",
      'the admin API needs "Authorization: Bearer <token>" with the token of admin.token',
      { headers: { "www-authenticate": "Bearer" } },
    )
  }
  if (isForeignPage(headers)) {
    throw new GatewayError("forbidden", "pages of another origin may not use the admin API; set admin.token")
  }
  if (exchange.isLocal && isLoopbackAddress(deps.peerOf(exchange.request))) return
  throw new GatewayError(
    "forbidden",
    "without admin.token the admin API answers only callers on this machine that use a loopback host name; set admin.token",
  )
}

/** A browser sends these for a page; without a token nothing else keeps a foreign one from switching plugins off. */
function isForeignPage(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site")
  if (site !== null && site !== "same-origin" && site !== "none") return true
  const origin = headers.get("origin")
  return (
    origin !== null &&
    origin !== `http://${headers.get("host")}` &&
    origin !== `https://${headers.get("host")}`
  )
}

/** For every hook: how many plugins are registered for it now, and what its calls took since the start. */
function hookStats({ points, registry }: HttpDeps) {
  const { hooks } = registry.current
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
