/** The settings of plugins: `/admin/plugins/:name/schema` and `/config`. */
import type { JsonObject } from "../config/edit.ts"
import { GatewayError, messageOf } from "../errors.ts"
import { isObject } from "../protocol/json-object.ts"
import { adminRoutes } from "./admin-access.ts"
import { readBody } from "./body.ts"
import type { HttpDeps } from "./deps.ts"
import type { Exchange } from "./exchange.ts"
import { jsonReply } from "./reply.ts"

export function pluginConfigApi(deps: HttpDeps) {
  return adminRoutes("plugin-config-api", deps)
    .get("/admin/plugins/:name/schema", ({ params: { name } }) =>
      jsonReply({ plugin: name, schema: deps.registry.configSchema(name) ?? null }),
    )
    .post(
      "/admin/plugins/:name/config",
      async ({ params: { name }, exchange }) => {
        await deps.configurePlugin(name, await readPatch(exchange))
        return jsonReply({ message: "plugin configured", name })
      },
      { parse: "none" },
    )
}

/** What the config file's own reader takes, with room for where the settings stand in it. */
const MAX_DEPTH = 32

async function readPatch({ request, view }: Exchange): Promise<JsonObject> {
  const body = parse(await readBody(request, view.settings.bodyLimitBytes))
  if (!isObject(body)) throw invalid('the body must be an object with "config"', "config")
  const [unknown] = Object.keys(body).filter((key) => key !== "config")
  if (unknown !== undefined) {
    throw invalid(`"${unknown.slice(0, 100)}" is not known here; the settings stand under "config"`, unknown)
  }
  const { config } = body
  if (!isObject(config))
    throw invalid('"config" must be an object: a JSON merge patch of the settings', "config")
  if (isDeeperThan(MAX_DEPTH, config)) throw invalid(`"config" is nested deeper than ${MAX_DEPTH}`, "config")
  return config as JsonObject
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
  } catch (thrown) {
    throw new GatewayError("invalid_json", `the request body is not valid JSON: ${messageOf(thrown)}`, {
      cause: thrown,
    })
  }
}

function invalid(message: string, param: string): GatewayError {
  return new GatewayError("invalid_request", message, { param })
}

function isDeeperThan(limit: number, value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false
  return limit === 0 || Object.values(value).some((item) => isDeeperThan(limit - 1, item))
}
