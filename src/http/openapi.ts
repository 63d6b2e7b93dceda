/** The OpenAPI 3.1 description of the routes. Source: https://spec.openapis.org/oas/v3.1.0 */
export function openApi(version: string) {
  return {
    openapi: "3.1.0",
    info: {
      title: "LeapGate",
      version,
      description: "An LLM API gateway. The client routes speak OpenAI's protocol.",
      license: { name: "MIT", identifier: "MIT" },
    },
    paths: {
      "/v1/chat/completions": {
        post: {
          operationId: "createChatCompletion",
          summary: "Answer a conversation, whole or as a stream of server-sent events",
          security: CLIENT,
          requestBody: { required: true, content: json(ref("ChatRequest")) },
          responses: {
            200: {
              description: "A chat completion; with stream: true, chunks ended by data: [DONE]",
              content: {
                ...json({ type: "object" }),
                "text/event-stream": { schema: { type: "string" } },
              },
            },
            ...ERRORS,
          },
        },
      },
      "/v1/embeddings": {
        post: {
          operationId: "createEmbeddings",
          summary: "Turn texts into vectors",
          security: CLIENT,
          requestBody: { required: true, content: json(ref("EmbeddingRequest")) },
          responses: {
            200: { description: "A list of embeddings", content: json({ type: "object" }) },
            ...ERRORS,
          },
        },
      },
      "/v1/models": get("listModels", "The models that are served", CLIENT),
      "/v1/models/{id}": get("getModel", "One model; its id may contain slashes", CLIENT, ["id"]),
      "/plugins/{name}/{path}": get("getFromPlugin", "What a plugin serves; other methods too", CLIENT, [
        "name",
        "path",
      ]),
      "/health": get("getHealth", "The process runs", []),
      "/ready": get("getReadiness", "200 when requests are welcome, 503 while starting or draining", []),
      "/metrics": get("getMetrics", "Prometheus text, or OpenMetrics by the Accept header", []),
      "/openapi.json": get("getDescription", "This description", []),
      "/admin/plugins": get("listPlugins", "All plugins with state and metrics", ADMIN),
      "/admin/plugins/hooks/stats": get("getHookStats", "Calls, errors and time of every hook", ADMIN),
      "/admin/plugins/{name}": get("getPlugin", "One plugin, its metadata and last error", ADMIN, ["name"]),
      "/admin/plugins/{name}/metrics": get("getPluginMetrics", "One plugin's metrics", ADMIN, ["name"]),
      "/admin/plugins/{name}/enable": post("enablePlugin", "Activate a plugin"),
      "/admin/plugins/{name}/disable": post(
        "disablePlugin",
        "Deactivate a plugin; ?force=true its dependents too",
      ),
      "/admin/plugins/{name}/reload": post("reloadPlugin", "Load a plugin again from its file"),
      "/admin/plugins/{name}/cache": {
        ...get("getCache", "What a cache plugin says about its content", ADMIN, ["name"]),
        ...remove("clearCache", "Throw away all entries of a cache plugin", ["name"]),
      },
      "/admin/plugins/{name}/cache/{key}": remove("deleteCacheEntry", "Throw away one entry", [
        "name",
        "key",
      ]),
      "/admin/plugins/{name}/rollback": post(
        "rollBackPlugin",
        "Drop the canary, or go back to the version before",
      ),
      "/admin/plugins/{name}/promote": post("promotePlugin", "Let the canary serve all requests"),
      "/admin/plugins/{name}/schema": get(
        "getPluginSchema",
        "The JSON Schema of a plugin's settings",
        ADMIN,
        ["name"],
      ),
      "/admin/plugins/{name}/config": {
        post: {
          ...post("configurePlugin", "Change a plugin's settings, here and in the config file").post,
          requestBody: { required: true, content: json(ref("PluginConfigPatch")) },
        },
      },
    },
    components: {
      securitySchemes: {
        apiKey: { type: "http", scheme: "bearer", description: "A key of auth.keys" },
        adminToken: { type: "http", scheme: "bearer", description: "admin.token" },
      },
      schemas: {
        ChatRequest: {
          type: "object",
          required: ["model", "messages"],
          properties: {
            model: { type: "string", description: "A model, an alias, or provider/model" },
            messages: { type: "array", minItems: 1, items: { type: "object" } },
            stream: { type: ["boolean", "null"], default: false },
          },
          additionalProperties: true,
        },
        EmbeddingRequest: {
          type: "object",
          required: ["model", "input"],
          properties: {
            model: { type: "string", description: "A model, an alias, or provider/model" },
            input: {
              oneOf: [
                { type: "string", minLength: 1 },
                { type: "array", minItems: 1, items: { type: "string" } },
                { type: "array", minItems: 1, items: TOKEN },
                { type: "array", minItems: 1, items: { type: "array", items: TOKEN } },
              ],
            },
            encoding_format: { enum: ["float", "base64", null], default: "float" },
            dimensions: { type: ["integer", "null"], minimum: 1 },
          },
          additionalProperties: true,
        },
        PluginConfigPatch: {
          type: "object",
          required: ["config"],
          properties: {
            config: {
              type: "object",
              description: "A JSON merge patch (RFC 7386); null takes a setting away",
            },
          },
          additionalProperties: false,
        },
        Error: {
          type: "object",
          required: ["error"],
          properties: {
            error: {
              type: "object",
              required: ["message", "type", "code", "param"],
              properties: {
                message: { type: "string" },
                type: { type: "string" },
                code: { type: ["string", "null"] },
                param: { type: ["string", "null"] },
              },
            },
          },
        },
      },
    },
  }
}

const CLIENT = [{ apiKey: [] }, {}]
const ADMIN = [{ adminToken: [] }, {}]
const TOKEN = { type: "integer", minimum: 0 }
const ERRORS = {
  default: { description: "An error in OpenAI's form", content: json(ref("Error")) },
}

function ref(name: string) {
  return { $ref: `#/components/schemas/${name}` }
}

function json(schema: object) {
  return { "application/json": { schema } }
}

function get(operationId: string, summary: string, security: object[], parameters: readonly string[] = []) {
  return { get: operation({ operationId, summary, security, parameters }) }
}

function post(operationId: string, summary: string) {
  return { post: operation({ operationId, summary, security: ADMIN, parameters: ["name"] }) }
}

function remove(operationId: string, summary: string, parameters: readonly string[]) {
  return { delete: operation({ operationId, summary, security: ADMIN, parameters }) }
}

function operation({
  parameters,
  ...rest
}: {
  readonly operationId: string
  readonly summary: string
  readonly security: object[]
  readonly parameters: readonly string[]
}) {
  return {
    ...rest,
    parameters: parameters.map((name) => ({ name, in: "path", required: true, schema: { type: "string" } })),
    responses: { 200: { description: rest.summary }, ...ERRORS },
  }
}
