/** What operators' machines ask: health, readiness, the API's description, metrics. */
import { GatewayError } from "../errors.ts"
import { joinFamilies, negotiateFormat } from "../telemetry/exposition.ts"
import type { HttpDeps } from "./deps.ts"
import type { Exchange } from "./exchange.ts"
import { openApi } from "./openapi.ts"
import { jsonReply } from "./reply.ts"
import { ownRoutes } from "./routes.ts"

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
  return ownRoutes("metrics").get("/metrics", ({ exchange }) => metrics(exchange, deps))
}

function ready(deps: HttpDeps): Response {
  return deps.isReady() ? jsonReply({ status: "ready" }) : jsonReply({ status: "not_ready" }, 503)
}

async function metrics({ request, view }: Exchange, { fleet }: HttpDeps): Promise<Response> {
  if (!view.settings.servesMetrics) {
    throw new GatewayError("not_found", "metrics are switched off by telemetry.metrics.enabled")
  }
  const format = negotiateFormat(request.headers.get("accept"))
  // The series of several processes stay apart: a sum would fall when one of them ends or does not answer, which a
  // scraper takes for a counter that began anew.
  const readings = await fleet.gather({ about: "metrics", format })
  const texts = readings.flatMap(({ value }) => (value === undefined ? [] : [value]))
  const { body, contentType } = joinFamilies(texts, format)
  return new Response(body, { headers: { "content-type": contentType } })
}
