/** What operators' machines ask: health, readiness, the API's description, metrics. */
import { Elysia } from "elysia"
import { GatewayError } from "../errors.ts"
import type { Fleet } from "../plugin/fleet.ts"
import { type Exposition, joinFamilies, negotiateFormat, renderMetrics } from "../telemetry/exposition.ts"
import type { HttpDeps } from "./deps.ts"
import type { Exchange } from "./exchange.ts"
import { openApi } from "./openapi.ts"
import { jsonReply } from "./reply.ts"

export function operations(deps: HttpDeps) {
  const description = openApi(deps.version)
  return ownRoutes("operations")
    .get("/health", () =>
      jsonReply({ status: "ok", timestamp: new Date(deps.clock.now()).toISOString(), version: deps.version }),
    )
    .get("/ready", () => ready(deps))
    .get("/openapi.json", () => jsonReply(description))
}

export function metricsApi(deps: HttpDeps) {
  return ownRoutes("metrics").get("/metrics", ({ request }) => metrics(request, deps))
}

/** Routes of the gateway's own that no plugin sees, so that no plugin can lock an operator out. */
export function ownRoutes<const N extends string>(name: N) {
  return new Elysia({ name })
    .decorate("exchange", null as unknown as Exchange)
    .onBeforeHandle(function enter({ exchange, route }) {
      exchange.enterOwn(route)
    })
    .mapResponse(function finish({ exchange, responseValue }) {
      const response = exchange.stamp(responseValue as Response)
      exchange.replied(response.status)
      return response
    })
}

function ready(deps: HttpDeps): Response {
  return deps.isReady() ? jsonReply({ status: "ready" }) : jsonReply({ status: "not_ready" }, 503)
}

async function metrics(request: Request, deps: HttpDeps): Promise<Response> {
  if (!deps.view().settings.servesMetrics) {
    throw new GatewayError("not_found", "metrics are switched off by telemetry.metrics.enabled")
  }
  const accept = request.headers.get("accept")
  const { body, contentType } = deps.fleet.isAlone
    ? renderMetrics(deps.metrics, accept)
    : await metricsOfAll(deps.fleet, accept)
  return new Response(body, { headers: { "content-type": contentType } })
}

/**
 * The series of every process, apart: a sum would fall when one of them ends or does not answer, which a scraper
 * takes for a counter that began anew.
 */
async function metricsOfAll(fleet: Fleet, accept: string | null): Promise<Exposition> {
  const format = negotiateFormat(accept)
  const readings = await fleet.gather({ about: "metrics", format })
  return joinFamilies(
    readings.flatMap(({ value }) => (value === undefined ? [] : [value])),
    format,
  )
}
