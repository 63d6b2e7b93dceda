/** `/v1/embeddings`: the same way through the gateway as chat, with raw requests and the official client. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { vectorFromBase64, vectorToBase64 } from "../../src/protocol/embedding-reply.ts"
import type { EmbeddingResponse } from "../../src/protocol/openai.ts"
import { errorOf, postChat } from "../support/chat.ts"
import { type ApiError, loadClients, type OpenAiClient } from "../support/clients.ts"
import { embeddings, postEmbeddings } from "../support/embeddings.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, type Script, startHostileUpstream } from "../support/hostile-upstream.ts"
import { answers, neverEndsItsReply, refuses } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"
import { json } from "../support/wire.ts"

const KEY = "lg-test-key"
const AUTHORISED = { authorization: `Bearer ${KEY}` }
const VECTOR = [0.5, -0.25, 1]

/** Answers with vectors in the form that is asked for, as providers do. */
const embeds: Script = async ({ write, request }) => {
  const { input, encoding_format: format } = JSON.parse(request.body)
  const vector = format === "base64" ? vectorToBase64(VECTOR) : VECTOR
  const vectors = Array.isArray(input) ? input.map(() => vector) : [vector]
  await write(json(200, JSON.stringify(embeddings(request.model, ...vectors))))
}

const MODELS = [
  "good",
  "other",
  "down",
  "silent",
  "endless",
  "bad",
  "limited",
  "no-vectors",
  "spaced",
  "page",
]

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  for (const model of ["good", "other"]) upstream.script(model, embeds)
  upstream.script("down", refuses(503))
  upstream.script("silent", ({ gone }) => gone)
  upstream.script("endless", neverEndsItsReply)
  upstream.script("bad", refuses(400))
  upstream.script("limited", refuses(429, { "retry-after": "60" }))
  upstream.script("no-vectors", answers(["text"]))
  upstream.script("page", ({ write }) => write(json(200, "<html></html>")))
  upstream.script("spaced", ({ write }) => write(json(200, SPACED_REPLY)))
  gateway = await startGateway({
    config: {
      auth: { keys: [{ name: "test", key: KEY }] },
      providers: [
        { name: "up", base_url: upstream.url, models: MODELS.filter((model) => model !== "other") },
        { name: "second", base_url: upstream.url, models: ["other"] },
      ],
      models: {
        backed: ["up/down", "second/other"],
        mixed: ["only-chat/talk", "second/other"],
        chats: ["only-chat/talk", "also-chat/talk-2"],
      },
      routing: { max_retries: 1 },
    },
    plugins: {
      "witness.ts": WITNESS,
      "only-chat.ts": chatOnly("only-chat", "talk"),
      "also-chat.ts": chatOnly("also-chat", "talk-2"),
      "vectors.ts": VECTORS,
    },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

const post = (options: Parameters<typeof postEmbeddings>[1]) =>
  postEmbeddings(gateway.url, { ...options, headers: { ...AUTHORISED, ...options.headers } })
const postRaw = (body: string) =>
  fetch(`${gateway.url}/v1/embeddings`, {
    method: "POST",
    headers: { ...AUTHORISED, "content-type": "application/json" },
    body,
  })

const SPACED_REPLY = `{ "data" : [ {"embedding":[0.10000000149011612, 1e-3],"index":0}],
  "model":"spaced",  "usage" : {"prompt_tokens":7,"total_tokens":7} }\n`

describe("bytes", () => {
  test("of a request reach the provider as they came, at its own endpoint", async () => {
    const body = '{ "input" : ["grün", "🌍"],\n "x_future":1e2, "model":"good" }'
    expect((await postRaw(body)).status).toBe(200)
    expect(upstream.requests("good").at(-1)).toMatchObject({ method: "POST", path: "/v1/embeddings", body })
  })

  test("of a request keep everything but the model's name", async () => {
    await postRaw('{ "model" : "second/other", "input": [1, 2] }')
    expect(upstream.requests("other").at(-1)?.body).toBe('{ "model" : "other", "input": [1, 2] }')
  })

  test("of a reply reach the client as they came", async () => {
    const reply = await post({ model: "spaced" })
    expect(reply.headers.get("content-type")).toBe("application/json")
    expect(await reply.text()).toBe(SPACED_REPLY)
  })
})

describe("nothing that holds for chat can be passed by", () => {
  test("not the key", async () => {
    const asked = upstream.requests().length
    const reply = await postEmbeddings(gateway.url, { model: "good" })
    expect([reply.status, (await errorOf(reply)).code]).toEqual([401, "invalid_api_key"])
    expect(upstream.requests()).toHaveLength(asked)
  })

  test("not the middlewares, nor the body's media type", async () => {
    expect((await post({ model: "good" })).headers.get("x-witness")).toBe("in,out")
    expect((await post({ model: "good", headers: { "content-type": "text/plain" } })).status).toBe(415)
  })

  test("not onRequest, which sees the request and may reject it", async () => {
    const reply = await post({ model: "good", input: ["fine", "forbidden"] })
    expect([reply.status, await errorOf(reply)]).toEqual([
      403,
      expect.objectContaining({ code: "request_rejected", message: "not that word" }),
    ])
  })

  test("not onRequest, which may change the request", async () => {
    await post({ model: "good", input: "shorten" })
    expect(JSON.parse(upstream.requests("good").at(-1)?.body ?? "")).toEqual({
      model: "good",
      input: "shorten",
      dimensions: 2,
    })
  })

  test("nor may onRequest make a chat request of it", async () => {
    const reply = await post({ model: "good", input: "chat instead" })
    expect([reply.status, (await errorOf(reply)).message]).toEqual([400, '"input" is missing'])
  })

  test("not the observers, which are told the operation, the usage and the response", async () => {
    await post({ model: "good", user: "observed" })
    const told = await waitFor("onResponse", () =>
      logged("answered").find(({ requestOf }) => requestOf === "observed"),
    )
    expect(told).toMatchObject({
      operation: "embeddings",
      provider: "up",
      stream: false,
      tokensUsed: 5,
      embedding: VECTOR,
    })
    await postChat(gateway.url, { model: "talk", headers: AUTHORISED })
    await waitFor("onResponse of chat", () =>
      logged("answered").find(({ operation }) => operation === "chat"),
    )
  })

  test("not the observers of failures", async () => {
    await post({ model: "bad", user: "failing" })
    const told = await waitFor("onError", () =>
      logged("failed").find(({ requestOf }) => requestOf === "failing"),
    )
    expect(told).toMatchObject({ operation: "embeddings", code: "upstream_rejected" })
  })

  test("not the metrics", async () => {
    await post({ model: "good" })
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
    expect(metrics).toMatch(/^leapgate_attempts_total\{provider="up",outcome="answered"\} \d+$/m)
    expect(metrics).toMatch(
      /^gen_ai_client_token_usage_count\{gen_ai_token_type="input",gen_ai_provider_name="up",gen_ai_request_model="good"\} \d+$/m,
    )
    expect(metrics).toMatch(/^http_server_request_duration_seconds_count\{.*http_route="\/v1\/embeddings"/m)
    expect(metrics).toMatch(
      /^leapgate_hook_duration_seconds_count\{plugin="vectors",hook="provider.embed",version="1.0.0",role="stable"\} /m,
    )
  })
})

describe("routing", () => {
  test("leaves a provider that fails for the next one", async () => {
    const reply = (await (await post({ model: "backed", user: "switched" })).json()) as EmbeddingResponse
    expect(reply).toMatchObject({ model: "other", data: [{ embedding: VECTOR }] })
    await waitFor("onProviderSwitch", () =>
      logged("switched").find(
        ({ from, to, operation }) => `${from} ${to} ${operation}` === "up second embeddings",
      ),
    )
  })

  test("passes over providers that have no embeddings", async () => {
    expect(await (await post({ model: "mixed" })).json()).toMatchObject({ model: "other" })
    expect(logged("chatting")).toEqual([])
  })

  test.each([
    ["talk", '"only-chat" has'],
    ["only-chat/anything", '"only-chat" has'],
    ["chats", '"only-chat" and "also-chat" have'],
  ])("says of %p that no provider has embeddings", async (model, who) => {
    const reply = await post({ model })
    expect(reply.status).toBe(400)
    expect(await errorOf(reply)).toEqual({
      message: `the model "${model}" cannot be used with /v1/embeddings: ${who} no embeddings; ask for a model of another provider`,
      type: "invalid_request_error",
      code: "invalid_request",
      param: "model",
    })
  })

  test("knows no other models than chat", async () => {
    const reply = await post({ model: "goood" })
    expect([reply.status, await errorOf(reply)]).toEqual([
      404,
      expect.objectContaining({ code: "model_not_found", message: expect.stringContaining('"good"') }),
    ])
  })
})

describe("replies that are none", () => {
  test.each([
    ["bad", 400, "upstream_code_400", "upstream says 400"],
    ["limited", 429, "upstream_rate_limited", "limits the gateway's rate"],
    ["no-vectors", 502, "upstream_invalid_reply", "something that is not a list of embeddings"],
    ["page", 502, "upstream_invalid_reply", "something that is not a list of embeddings"],
    ["rubbish", 502, "upstream_invalid_reply", "neither a Response nor embeddings"],
    ["throws", 502, "upstream_server_error", 'provider plugin "vectors" failed in embed: boom'],
  ])("of %p are errors", async (model, status, code, message) => {
    const reply = await post({ model })
    const error = await errorOf(reply)
    expect([reply.status, error.code]).toEqual([status, code])
    expect(error.message).toContain(message)
    expect(reply.headers.get("retry-after")).toBe(code === "upstream_rate_limited" ? "60" : null)
  })

  test("count as failures of a plugin where it is at fault", async () => {
    const failures = async () =>
      ((await (await fetch(`${gateway.adminUrl}/plugins/vectors`)).json()) as { metrics: { errors: number } })
        .metrics.errors
    const before = await failures()
    await post({ model: "throws" })
    await post({ model: "refuses" })
    // Twice: it was tried again. What it refuses on purpose does not count.
    expect((await failures()) - before).toBe(2)
  })
})

describe("a plugin's vectors are sent as asked", () => {
  const first = async (model: string, format?: "float" | "base64") => {
    const reply = await post(format === undefined ? { model } : { model, encoding_format: format })
    return ((await reply.json()) as EmbeddingResponse).data[0]?.embedding
  }

  test.each(["numbers", "base64"])("where it gives %s", async (model) => {
    expect(await first(model)).toEqual(VECTOR)
    expect(await first(model, "float")).toEqual(VECTOR)
    const text = await first(model, "base64")
    expect(vectorFromBase64(String(text))).toEqual(VECTOR)
  })
})

test.each(["silent", "endless"])("a client that leaves %s stops the provider", async (model) => {
  const controller = new AbortController()
  const seen = upstream.requests(model).length
  const asking = post({ model, signal: controller.signal })
  asking.catch(() => {})
  const request = await waitFor("the provider to be asked", () => upstream.requests(model)[seen])
  controller.abort()
  await waitFor("the provider to see the abort", () => request.abortedAtMs)
  expect(upstream.requests(model)).toHaveLength(seen + 1)
})

test("a client that leaves aborts the signal of a plugin", async () => {
  const controller = new AbortController()
  const asking = post({ model: "waits", signal: controller.signal })
  asking.catch(() => {})
  await waitFor("the plugin to be asked", () => logged("waiting").length === 1)
  controller.abort()
  await waitFor("the plugin to be told", () => logged("let go").length === 1)
})

const clients = await loadClients()

describe.skipIf(clients === undefined)("the official openai client", () => {
  const client = (): OpenAiClient => {
    if (clients === undefined) throw new Error("test/clients is not installed")
    const baseURL = `${gateway.url}/v1`
    return new clients.openai.OpenAI({ apiKey: KEY, baseURL, maxRetries: 0, timeout: 15_000 })
  }

  test.each(["good", "numbers", "base64"])(
    "gets vectors of %s, which it asks for as base64",
    async (model) => {
      const reply = await client().embeddings.create({ model, input: "hello" })
      expect(reply.data[0]?.embedding).toEqual(VECTOR)
      expect(reply.usage).toMatchObject({ total_tokens: 5 })
      expect(reply._request_id).toMatch(/^\S{8,}$/)
      if (model !== "good") return
      expect(JSON.parse(upstream.requests("good").at(-1)?.body ?? "")).toMatchObject({
        encoding_format: "base64",
      })
    },
  )

  test("gets floats where it asks for them", async () => {
    const reply = await client().embeddings.create({
      model: "good",
      input: ["a", "b"],
      encoding_format: "float",
    })
    expect(reply.data.map(({ embedding }) => embedding)).toEqual([VECTOR, VECTOR])
  })

  test("raises its own errors", async () => {
    const failureOf = (model: string, input: string) =>
      client()
        .embeddings.create({ model, input })
        .then(
          () => Promise.reject(new Error("expected a failure, got an answer")),
          (error: ApiError) => error,
        )
    expect(await failureOf("good", "")).toBeInstanceOf(clients?.openai.BadRequestError)
    expect(await failureOf("no-such", "x")).toBeInstanceOf(clients?.openai.NotFoundError)
    expect(await failureOf("limited", "x")).toBeInstanceOf(clients?.openai.RateLimitError)
    expect(await failureOf("talk", "x")).toBeInstanceOf(clients?.openai.BadRequestError)
  })

  test("stops the provider when its signal aborts", async () => {
    const controller = new AbortController()
    const seen = upstream.requests("silent").length
    const asking = client().embeddings.create({ model: "silent", input: "x" }, { signal: controller.signal })
    const failed = asking.catch((error: unknown) => error)
    const request = await waitFor("the provider to be asked", () => upstream.requests("silent")[seen])
    controller.abort()
    expect(await failed).toBeInstanceOf(clients?.openai.APIUserAbortError)
    await waitFor("the provider to see the abort", () => request.abortedAtMs)
  })
})

/** What the plugins logged under this message. */
function logged(message: string): Readonly<Record<string, unknown>>[] {
  return gateway
    .logs()
    .split("\n")
    .filter((line) => line.includes(`"message":"${message}"`))
    .map((line) => JSON.parse(line))
}

const WITNESS = `import { definePlugin, GatewayError } from "leapgate/plugin"

export default definePlugin({
  name: "witness", version: "1.0.0", type: "middleware",
  setup: ({ log }) => {
    const users = new Map()
    return {
      beforeHandle: ({ values }) => void values.set("seen", "in"),
      afterHandle: ({ values, setHeader }) => setHeader("x-witness", values.get("seen") + ",out"),
      hooks: {
        onRequest({ operation, request, requestId }) {
          if (operation !== "embeddings") return
          users.set(requestId, request.user)
          if (request.input.includes("forbidden")) throw new GatewayError("request_rejected", "not that word")
          if (request.input === "shorten") return { request: { ...request, dimensions: 2 } }
          if (request.input === "chat instead") return { request: { model: "good", messages: [{ role: "user", content: "x" }] } }
        },
        onResponse: ({ operation, provider, stream, tokensUsed, response, requestId }) =>
          log.info("answered", { operation, provider, stream, tokensUsed, requestOf: users.get(requestId), embedding: response?.data?.[0]?.embedding }),
        onError: ({ operation, error, requestId }) => log.info("failed", { operation, code: error.code, requestOf: users.get(requestId) }),
        onProviderSwitch: ({ operation, fromProvider, toProvider }) => log.info("switched", { operation, from: fromProvider, to: toProvider }),
        onText: ({ text }) => text.toUpperCase(),
      },
    }
  },
})`

function chatOnly(name: string, model: string): string {
  return `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "provider",
  setup: ({ log }) => ({
    models: ["${model}"],
    chat({ request }) {
      if (request.input !== undefined) log.info("chatting")
      return { choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }] }
    },
  }),
})`
}

const VECTORS = `import { definePlugin, GatewayError } from "leapgate/plugin"
export default definePlugin({
  name: "vectors", version: "1.0.0", type: "provider",
  setup: ({ log }) => ({
    models: ["numbers", "base64", "rubbish", "throws", "refuses", "waits"],
    chat: () => { throw new Error("not asked for") },
    embed({ model, signal }) {
      if (model === "throws") throw new Error("boom")
      if (model === "refuses") throw new GatewayError("upstream_rejected", "no")
      if (model === "rubbish") return { object: "list", data: [{ object: "embedding", index: 0, embedding: ["a"] }] }
      if (model === "waits") {
        log.info("waiting")
        return new Promise((_, reject) => signal.addEventListener("abort", () => { log.info("let go"); reject(signal.reason) }))
      }
      const embedding = model === "numbers" ? ${JSON.stringify(VECTOR)} : ${JSON.stringify(vectorToBase64(VECTOR))}
      return { object: "list", data: [{ object: "embedding", index: 0, embedding }], model, usage: { prompt_tokens: 5, total_tokens: 5 } }
    },
  }),
})`
