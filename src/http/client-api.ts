/** The API that applications use: OpenAI's chat completions, embeddings and models. */
import { GatewayError } from "../errors.ts"
import { answer, type Reply } from "../pipeline/answer.ts"
import { Call, type RequestBody } from "../pipeline/call.ts"
import { readChatBody } from "../protocol/chat-body.ts"
import { readEmbeddingBody } from "../protocol/embedding-body.ts"
import { readBody } from "./body.ts"
import { decoded } from "./decoded.ts"
import type { HttpDeps } from "./deps.ts"
import type { Exchange } from "./exchange.ts"
import { jsonReply } from "./reply.ts"
import { sharedRoutes } from "./routes.ts"
import { visibleModels } from "./visible-models.ts"

const PLAIN_HEADERS = { "content-type": "application/json" } as const
const STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
} as const

export function clientApi(deps: HttpDeps) {
  return (
    sharedRoutes("client-api")
      .onBeforeHandle(function admit({ exchange, route }) {
        return exchange.admit(route)
      })
      // The handler reads the body itself, after authentication and middlewares. Elysia's parsers would first touch
      // `request.body`, which turns it into a stream and makes reading it several times as dear.
      .post("/v1/chat/completions", ({ exchange }) => answerCall(exchange, deps, readChatBody), {
        parse: "none",
      })
      .post("/v1/embeddings", ({ exchange }) => answerCall(exchange, deps, readEmbeddingBody), {
        parse: "none",
      })
      .get("/v1/models", ({ exchange }) => listModels(exchange))
      .get("/v1/models/*", ({ exchange, params }) => showModel(exchange, params["*"]))
  )
}

async function answerCall(
  exchange: Exchange,
  deps: HttpDeps,
  decode: (bytes: Uint8Array<ArrayBuffer>) => RequestBody,
): Promise<Response> {
  const { view, request } = exchange
  const body = decode(await readBody(request, view.settings.bodyLimitBytes))
  deps.keepOpen(request)
  const call = new Call(
    {
      requestId: exchange.requestId,
      traceId: () => exchange.traceId(),
      snapshot: view.snapshot,
      catalog: view.catalog,
      rules: view.settings.rules,
      headers: request.headers,
      principal: exchange.principal,
      signal: request.signal,
      body,
      startMs: exchange.startMs,
    },
    deps.call,
  )
  const reply = await answer(call, exchange.streamEnded)
  if (reply.kind === "plain") return exchange.reply(reply.body, withHeaders(PLAIN_HEADERS, reply))
  exchange.holdForStream()
  return exchange.reply(reply.body, withHeaders(STREAM_HEADERS, reply))
}

function withHeaders(
  usual: NonNullable<Reply["headers"]>,
  { headers }: Pick<Reply, "headers">,
): NonNullable<Reply["headers"]> {
  return headers === undefined ? usual : { ...usual, ...headers }
}

async function listModels(exchange: Exchange): Promise<Response> {
  const models = await visibleModels(exchange, exchange.view.catalog.models())
  return jsonReply({ object: "list", data: models.map(modelBody) })
}

async function showModel(exchange: Exchange, encodedId: string): Promise<Response> {
  const { catalog } = exchange.view
  // Clients encode the slashes in a model's id.
  const id = decoded(encodedId)
  const model = catalog.model(id)
  const [visible] = await visibleModels(exchange, model === undefined ? [] : [model])
  if (visible !== undefined) return jsonReply(modelBody(visible))
  const [similar] = await visibleModels(
    exchange,
    catalog.suggest(id).map((suggested) => ({ id: suggested })),
  )
  const hint = similar === undefined ? "GET /v1/models lists what is served" : `did you mean "${similar.id}"?`
  throw new GatewayError("model_not_found", `no provider serves the model "${id.slice(0, 200)}"; ${hint}`, {
    param: "model",
  })
}

function modelBody({ id, providers }: { readonly id: string; readonly providers: readonly string[] }) {
  return { id, object: "model", created: 0, owned_by: providers[0] ?? "leapgate", x_leapgate: { providers } }
}
