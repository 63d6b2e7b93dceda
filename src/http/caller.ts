/** Who asks: by the static keys, else by the auth plugins. */
import { GatewayError } from "../errors.ts"
import type { Awaitable, Principal } from "../plugin/contract.ts"
import { CallContext } from "../plugin/point.ts"
import { withPermissions } from "../plugin/principal.ts"
import type { HttpDeps } from "./deps.ts"
import type { Exchange } from "./exchange.ts"
import { ANONYMOUS, credentialOf } from "./key-ring.ts"

/**
 * Gives a promise only where auth plugins have to be asked.
 * @throws GatewayError `invalid_api_key`, `forbidden`, a plugin's own refusal, or `plugin_failed` / `plugin_timeout`
 */
export function callerOf(exchange: Exchange, deps: HttpDeps): Awaitable<Principal> {
  const { settings, snapshot } = exchange.view
  const { keys, isOpen } = settings
  const hasPlugins = snapshot.auths.length > 0
  if (keys.isEmpty && !hasPlugins && (isOpen || isServedUnknown(exchange, deps))) return ANONYMOUS
  const token = credentialOf(exchange.request.headers)
  const known = token === undefined ? undefined : keys.find(token)
  if (known !== undefined) return known
  if (token === undefined || !hasPlugins) return strangerOf(exchange, deps, token)
  return identify(exchange, deps, token).then((principal) => principal ?? strangerOf(exchange, deps, token))
}

/** For routes that need no credential: a bad one makes nobody less than anonymous. */
export function callerIfKnown(exchange: Exchange, deps: HttpDeps): Awaitable<Principal> {
  const { settings, snapshot } = exchange.view
  const token = credentialOf(exchange.request.headers)
  if (token === undefined) return ANONYMOUS
  const known = settings.keys.find(token)
  if (known !== undefined || snapshot.auths.length === 0) return known ?? ANONYMOUS
  return identify(exchange, deps, token).then(
    (principal) => principal ?? ANONYMOUS,
    () => ANONYMOUS,
  )
}

/**
 * Asks the auth plugins, by priority, whose credential this is.
 * @returns undefined where none knows it
 */
export async function identify(
  { view, request }: Exchange,
  { clock }: Pick<HttpDeps, "clock">,
  token: string,
): Promise<Principal | undefined> {
  for (const { authenticate, permissions } of view.snapshot.auths) {
    const principal = await authenticate.call(token, new CallContext(request.signal))
    if (principal === undefined) continue
    const { expiresAtMs = Number.POSITIVE_INFINITY, userId } = principal
    if (expiresAtMs <= clock.now()) throw refused("the credential has expired; get a new one")
    if (userId === undefined || permissions === undefined) return principal
    return withPermissions(principal, (await permissions.call(userId, new CallContext(request.signal))) ?? [])
  }
  return undefined
}

/** A caller whom nobody knows. */
function strangerOf(exchange: Exchange, deps: HttpDeps, token: string | undefined): Principal {
  const { keys, isOpen } = exchange.view.settings
  if (isOpen) return ANONYMOUS
  if (!keys.isEmpty || deps.registry.wants("auth")) throw unauthorised(exchange, token)
  if (isServedUnknown(exchange, deps)) return ANONYMOUS
  throw new GatewayError(
    "forbidden",
    "no API key is configured and no auth plugin is active, so only callers on this machine that use a loopback host name and no proxy are served, and none where server.host is an address that others can reach; add a key under auth.keys, or set auth.mode: open",
  )
}

/**
 * Whether a caller without a key is served because it is on this machine. Not where an auth plugin is to say who
 * callers are, even if it cannot say it now; nor on an address that others reach, who can send any Host.
 */
function isServedUnknown(exchange: Exchange, { registry }: HttpDeps): boolean {
  return exchange.view.settings.isPrivate && exchange.isLocal && !registry.wants("auth")
}

function unauthorised({ view }: Exchange, token: string | undefined): GatewayError {
  const { settings, snapshot } = view
  const hasPlugins = snapshot.auths.length > 0
  if (settings.keys.isEmpty && !hasPlugins) {
    return refused(
      "an auth plugin is to say who may call, but it is not active; GET /admin/plugins says why. Until it is, nobody without a key of auth.keys is served",
    )
  }
  if (token === undefined) {
    const whose = settings.keys.isEmpty ? "that an auth plugin knows" : "of auth.keys"
    return refused(`no API key was sent; send "Authorization: Bearer <key>" with a key ${whose}`)
  }
  return refused(`the API key is not one of auth.keys${hasPlugins ? ", and no auth plugin knows it" : ""}`)
}

function refused(message: string): GatewayError {
  return new GatewayError("invalid_api_key", message, { headers: { "www-authenticate": "Bearer" } })
}
