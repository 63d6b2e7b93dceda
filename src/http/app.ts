/**
 * The Elysia applications. Each lifecycle hook is registered once, here and in the route modules, and works on
 * the exchange, which holds the snapshot of plugins that its request pinned.
 */
import { Elysia } from "elysia"
import { GatewayError, toGatewayError } from "../errors.ts"
import { adminApi } from "./admin-api.ts"
import { cacheAdmin } from "./cache-admin.ts"
import { clientApi } from "./client-api.ts"
import type { HttpDeps } from "./deps.ts"
import { Exchange, requestIdOf } from "./exchange.ts"
import { metricsApi, operations } from "./operations.ts"
import { pluginApi } from "./plugin-api.ts"
import { pluginConfigApi } from "./plugin-config-api.ts"
import { errorReply } from "./reply.ts"

/** Which routes a listener serves. */
export type Surface = "client" | "admin" | "both"

export function createApp(surface: Surface, deps: HttpDeps) {
  const app = new Elysia({ handler: { standardHostname: false }, strictPath: true })
    .decorate("exchange", null as Exchange | null)
    .onRequest(function open(context) {
      try {
        context.exchange = new Exchange(context.request, deps)
      } catch (thrown) {
        const error = toGatewayError(thrown)
        deps.metrics.counter("gateway.errors", { code: error.code }).add()
        const refusal = errorReply(error)
        refusal.headers.set("x-request-id", requestIdOf(context.request))
        return refusal
      }
    })
    .onError(async function fail({ error, code, exchange, request, path }) {
      const failure = code === "NOT_FOUND" ? notFound(request.method, path) : toGatewayError(error)
      return replyToFailure(failure, exchange, deps)
    })
    .use(operations(deps))
  if (surface !== "admin") app.use(clientApi(deps)).use(pluginApi(deps))
  if (surface !== "client")
    app.use(adminApi(deps)).use(pluginConfigApi(deps)).use(cacheAdmin(deps)).use(metricsApi(deps))

  const methodsOf = routeTable(app.routes)
  return app.compile()

  function notFound(method: string, path: string): GatewayError {
    const methods = methodsOf(path)
    if (methods.length === 0) {
      return new GatewayError(
        "not_found",
        `there is no ${method} ${path.slice(0, 200)}; GET /openapi.json lists the routes`,
      )
    }
    return new GatewayError("method_not_allowed", `${path} takes ${methods.join(", ")}, not ${method}`, {
      headers: { allow: methods.join(", ") },
    })
  }
}

async function replyToFailure(
  error: GatewayError,
  exchange: Exchange | null,
  deps: HttpDeps,
): Promise<Response> {
  deps.metrics.counter("gateway.errors", { code: error.code }).add()
  if (error.status >= 500) {
    deps.log.warn("a request failed", {
      request_id: exchange?.requestId,
      code: error.code,
      error: error.cause ?? error,
    })
  }
  const body = errorReply(error)
  if (exchange === null) return body
  const response = exchange.stamp((await exchange.failed(error)) ?? body)
  exchange.replied(response.status)
  return response
}

/** Finds the methods of a path among the routes, for a 405 that says what is allowed. */
function routeTable(routes: readonly { readonly method: string; readonly path: string }[]) {
  const compiled = routes.map(({ method, path }) => ({
    method,
    pattern: new RegExp(`^${path.replace(/\*$/, ".+").replace(/:[a-z]+/g, "[^/]+")}$`),
  }))
  return function methodsOf(path: string): readonly string[] {
    return compiled.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method)
  }
}
