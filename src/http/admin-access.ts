/**
 * Who may use the admin API. The admin's token, or being on this machine where there is none, is enough by itself:
 * no plugin can lock the operator out. Others need an auth plugin that knows them, and the consent of all.
 */
import { GatewayError } from "../errors.ts"
import { isAllowed } from "../plugin/guards.ts"
import { identify } from "./caller.ts"
import { decoded } from "./decoded.ts"
import type { HttpDeps } from "./deps.ts"
import type { Exchange } from "./exchange.ts"
import { isLoopbackAddress } from "./host-guard.ts"
import { credentialOf, isSameSecret } from "./key-ring.ts"
import { ownRoutes } from "./routes.ts"

/** Routes that are there for operators only. */
export function adminRoutes<const N extends string>(name: N, deps: HttpDeps) {
  return ownRoutes(name)
    .onBeforeHandle(function authorise({ exchange }) {
      return authoriseAdmin(exchange, deps)
    })
    .onBeforeHandle(function refuseUnreadable({ exchange, params }) {
      // Elysia gives null for what cannot be decoded, such as a lone `%`.
      if (Object.values<unknown>(params ?? {}).every((param) => param !== null)) return
      throw new GatewayError("not_found", `there is a stray % in the path ${exchange.path.slice(0, 200)}`)
    })
}

/**
 * Gives a promise only where auth plugins have to be asked.
 * @throws GatewayError `admin_unauthorized`, `forbidden`, or what an auth plugin threw
 */
function authoriseAdmin(exchange: Exchange, deps: HttpDeps): Promise<void> | undefined {
  const refusal = refusalOf(exchange)
  if (refusal === undefined) return undefined
  const { snapshot, settings } = exchange.view
  const token = credentialOf(exchange.request.headers)
  const isForPlugins = snapshot.guards.length > 0 && token !== undefined && !settings.keys.find(token)
  if (!isForPlugins) throw refusal
  return askPlugins(exchange, deps, token, refusal)
}

async function askPlugins(
  exchange: Exchange,
  deps: HttpDeps,
  token: string,
  refusal: GatewayError,
): Promise<void> {
  const principal = await identify(exchange, deps, token)
  if (principal === undefined) throw refusal
  const { method, signal } = exchange.request
  const action = method === "GET" || method === "HEAD" ? "admin.read" : "admin.write"
  // One spelling of a path for the plugins: an encoded letter must not make another one of it.
  const resource = decoded(exchange.path)
  if (await isAllowed(exchange.view.snapshot.guards, { principal, action, resource, signal })) return
  throw new GatewayError("forbidden", `"${principal.name}" may not use the admin API here (${action})`)
}

/** With a token: that token. Without: callers on this machine that use a loopback name, no proxy, and are no page. */
function refusalOf(exchange: Exchange): GatewayError | undefined {
  const { adminToken } = exchange.view.settings
  const { headers } = exchange.request
  if (adminToken !== "") {
    const sent = /^Bearer (.+)$/i.exec(headers.get("authorization") ?? "")?.[1]
    if (sent !== undefined && isSameSecret(sent.trim(), adminToken)) return undefined
    return new GatewayError(
      "admin_unauthorized",
      'the admin API needs "Authorization: Bearer <token>" with the token of admin.token',
      { headers: { "www-authenticate": "Bearer" } },
    )
  }
  if (isForeignPage(headers)) {
    return new GatewayError("forbidden", "pages of another origin may not use the admin API; set admin.token")
  }
  if (exchange.isLocal && isLoopbackAddress(exchange.clientIp)) return undefined
  return new GatewayError(
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
