/**
 * The HTTP routes of plugins: `/plugins/<name>` and all below it. One route serves them all and looks the plugin up
 * in the snapshot that the request pinned, because Elysia cannot take a route away again.
 */
import { GatewayError } from "../errors.ts"
import type { BoundEndpoint } from "../plugin/bindings.ts"
import type { FetchContext, Principal } from "../plugin/contract.ts"
import { CallContext } from "../plugin/point.ts"
import { boundedBody } from "./body.ts"
import { callerIfKnown, callerOf } from "./caller.ts"
import type { HttpDeps } from "./deps.ts"
import type { Exchange } from "./exchange.ts"
import { CREDENTIAL_HEADERS } from "./key-ring.ts"
import { passOn } from "./plugin-reply.ts"
import { sharedRoutes } from "./routes.ts"

export function pluginApi(deps: HttpDeps) {
  return sharedRoutes("plugin-api")
    .onBeforeHandle(function admit({ exchange }) {
      return admitTo(targetOf(exchange), exchange)
    })
    .all("/plugins/*", ({ exchange }) => serve(targetOf(exchange), exchange, deps), { parse: "none" })
}

interface Target {
  readonly name: string
  /** Below `/plugins/<name>`, not decoded. */
  readonly path: string
  readonly endpoint: BoundEndpoint | undefined
}

/**
 * Cut out of the path, and nothing in it decoded: `..%2f` stays what it is, inside its plugin, and a name has one
 * spelling, so that no other one gets around a middleware's `routes`.
 */
function targetOf({ path, view }: Exchange): Target {
  const [name = ""] = path.slice(PREFIX.length).split("/", 1)
  const rest = path.slice(PREFIX.length + name.length)
  return { name, path: rest === "" ? "/" : rest, endpoint: view.snapshot.endpoints.get(name) }
}

const PREFIX = "/plugins/"

/** What is not there needs a key too: strangers need not know which plugins there are. */
function admitTo({ endpoint }: Target, exchange: Exchange) {
  const route = endpoint === undefined ? "/plugins/*" : `/plugins/${endpoint.name}/*`
  return exchange.admit(route, endpoint?.isPublic === true ? callerIfKnown : callerOf)
}

async function serve(
  { name, path, endpoint }: Target,
  exchange: Exchange,
  deps: HttpDeps,
): Promise<Response> {
  if (endpoint === undefined) throw notServed(name, exchange)
  const { request, view } = exchange
  const body = boundedBody(request, view.settings.bodyLimitBytes)
  deps.keepOpen(request)
  const context = new RouteContext(exchange, path)
  try {
    const response = await endpoint.fetch.call(requestFor(endpoint, request, body.stream, context), context)
    // A point that fails closed gives a result or throws.
    if (response === undefined) throw notServed(name, exchange)
    return passOn(response, { exchange, instance: endpoint.fetch.instance })
  } catch (thrown) {
    throw body.fault() ?? thrown
  }
}

/** The gateway's own credentials are for the gateway. A public plugin has nobody check them for it, so it gets all. */
function requestFor(
  { isPublic }: BoundEndpoint,
  request: Request,
  body: ReadableStream | null,
  { signal }: FetchContext,
): Request {
  const headers = new Headers(request.headers)
  if (!isPublic) for (const name of CREDENTIAL_HEADERS) headers.delete(name)
  const { url, method } = request
  const takesBody = method !== "GET" && method !== "HEAD"
  return new Request(url, { method, headers, signal, ...(takesBody && { body }) })
}

class RouteContext extends CallContext implements FetchContext {
  readonly requestId: string
  readonly principal: Principal
  readonly path: string
  readonly #exchange: Exchange

  constructor(exchange: Exchange, path: string) {
    super(exchange.request.signal)
    this.requestId = exchange.requestId
    this.principal = exchange.principal
    this.path = path
    this.#exchange = exchange
  }

  get traceId(): string {
    return this.#exchange.traceId()
  }

  get clientIp(): string {
    return this.#exchange.clientIp
  }
}

function notServed(name: string, { view }: Exchange): GatewayError {
  const shown = `"${name.slice(0, 64)}"`
  const isActive = view.snapshot.instances.some((instance) => instance.name === name)
  return new GatewayError(
    "plugin_not_found",
    isActive
      ? `plugin ${shown} has no routes of its own; return "fetch" from its setup to give it some`
      : `no active plugin is called ${shown}; GET /admin/plugins says what is there, and in which state`,
  )
}
