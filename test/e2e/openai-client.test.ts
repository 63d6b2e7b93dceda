/** The official OpenAI client against the gateway, with an upstream that others wrote behind it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { ChatRequest } from "../../src/protocol/openai.ts"
import { type Aimock, type ApiError, loadClients, type OpenAiClient } from "../support/clients.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { pausesMidway, refuses, talksForEver } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

const TEXT = "Grüezi — good day! 🌍 ".repeat(20)
const USAGE = { prompt_tokens: 11, completion_tokens: 22, total_tokens: 33 }
const KEY = "lg-test-key"
const WEATHER_TOOL = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
}

const clients = await loadClients()

describe.skipIf(clients === undefined)("the official openai client", () => {
  let mock: Aimock
  let scripted: HostileUpstream
  let gateway: RunningGateway
  let client: OpenAiClient

  beforeAll(async () => {
    if (clients === undefined) return
    mock = new clients.aimock.LLMock({ port: 0, host: "127.0.0.1" })
    mock.on({ userMessage: "hello" }, { content: TEXT, usage: USAGE })
    mock.on(
      { userMessage: "weather" },
      {
        toolCalls: [
          { id: "call_1", name: "weather", arguments: '{"city":"Bern"}' },
          { id: "call_2", name: "weather", arguments: '{"city":"Zürich"}' },
        ],
      },
    )
    await mock.start()
    scripted = startHostileUpstream()
    scripted.script("endless", talksForEver(100))
    scripted.script("paused", pausesMidway())
    for (const status of [400, 500]) scripted.script(`status-${status}`, refuses(status))
    gateway = await startGateway({
      config: {
        auth: { keys: [{ name: "test", key: KEY }] },
        providers: [
          {
            name: "aimock",
            base_url: `${mock.url}/v1`,
            api_key: "mock",
            models: ["gpt-4o", "org/model:free"],
          },
          {
            name: "scripted",
            base_url: scripted.url,
            models: ["endless", "paused", "status-400", "status-500", "limited", "always-limited"],
          },
        ],
        routing: { max_retries: 0 },
      },
    })
    client = clientWith(KEY)
  })

  afterAll(async () => {
    await gateway?.stop()
    await mock?.stop()
    scripted?.stop()
  })

  test("gets a plain answer with its usage", async () => {
    const answer = await client.chat.completions.create(asking("hello"))
    expect(answer.choices[0]).toMatchObject({ message: { content: TEXT }, finish_reason: "stop" })
    expect(answer.usage).toMatchObject(USAGE)
  })

  test("gets a request id, on answers and on errors", async () => {
    const answer = await client.chat.completions.create(asking("hello"))
    expect(answer._request_id).toMatch(/^\S{8,}$/)
    const { request_id } = await client.chat.completions.create(asking("hello")).withResponse()
    expect(request_id).toMatch(/^\S{8,}$/)
    expect(request_id).not.toBe(answer._request_id ?? null)
    const error = await failureOf(client.chat.completions.create({ ...asking("hello"), model: "no-such" }))
    expect(error.requestID).toMatch(/^\S{8,}$/)
  })

  test("gets a stream, word by word, with finish_reason and usage", async () => {
    const stream = await client.chat.completions.create({
      ...asking("hello"),
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks = await Array.fromAsync(stream)
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe(TEXT)
    expect(chunks.map((chunk) => chunk.choices[0]?.finish_reason).findLast(Boolean)).toBe("stop")
    expect(chunks.findLast((chunk) => chunk.usage)?.usage).toMatchObject(USAGE)
    expect(chunks.length).toBeGreaterThan(10)
  })

  test("sees the first words while the provider is still writing", async () => {
    const stream = await client.chat.completions.create({ ...asking("hello"), model: "paused", stream: true })
    const texts: string[] = []
    for await (const chunk of stream) {
      texts.push(String(chunk.choices[0]?.delta.content ?? ""))
      if (texts.join("") !== "") scripted.proceed("paused")
    }
    expect(texts.join("")).toBe("grün und weiß 🌍 ende")
  })

  test("gets tool calls, plain", async () => {
    const answer = await client.chat.completions.create({ ...asking("weather"), tools: [WEATHER_TOOL] })
    expect(answer.choices[0]?.finish_reason).toBe("tool_calls")
    expect(answer.choices[0]?.message.tool_calls).toMatchObject([
      { id: "call_1", function: { name: "weather", arguments: '{"city":"Bern"}' } },
      { id: "call_2", function: { name: "weather", arguments: '{"city":"Zürich"}' } },
    ])
  })

  test("gets tool calls, streamed and put together again", async () => {
    const answer = await client.chat.completions
      .stream({ ...asking("weather"), tools: [WEATHER_TOOL] })
      .finalChatCompletion()
    expect(answer.choices[0]?.finish_reason).toBe("tool_calls")
    expect(answer.choices[0]?.message.tool_calls).toMatchObject([
      { id: "call_1", function: { name: "weather", arguments: '{"city":"Bern"}' } },
      { id: "call_2", function: { name: "weather", arguments: '{"city":"Zürich"}' } },
    ])
  })

  test("stops the provider when it stops listening", async () => {
    const stream = await client.chat.completions.create({
      ...asking("hello"),
      model: "endless",
      stream: true,
    })
    let words = 0
    for await (const _ of stream) {
      words += 1
      if (words === 3) break
    }
    await waitFor("the provider to see the abort", () => scripted.requests("endless").at(-1)?.abortedAtMs)
  })

  test("stops the provider when its signal aborts", async () => {
    const controller = new AbortController()
    const stream = await client.chat.completions.create(
      { ...asking("hello"), model: "endless", stream: true },
      { signal: controller.signal },
    )
    let words = 0
    for await (const _ of stream) {
      words += 1
      if (words === 3) controller.abort()
    }
    await waitFor("the provider to see the abort", () => scripted.requests("endless").at(-1)?.abortedAtMs)
  })

  test("lists and retrieves models, slashes in the name included", async () => {
    const ids = (await client.models.list()).data.map((model) => model.id)
    expect(ids).toContain("gpt-4o")
    expect(ids).toContain("org/model:free")
    expect(await client.models.retrieve("gpt-4o")).toMatchObject({ id: "gpt-4o", object: "model" })
    expect(await client.models.retrieve("org/model:free")).toMatchObject({ id: "org/model:free" })
    expect((await failureOf(client.models.retrieve("no-such"))).status).toBe(404)
  })

  test("asks for a model with a slash in its name", async () => {
    const answer = await client.chat.completions.create({ ...asking("hello"), model: "org/model:free" })
    expect(answer.choices[0]?.message.content).toBe(TEXT)
    expect(mock.getRequests().at(-1)?.body.model).toBe("org/model:free")
  })

  describe("raises its own error class", () => {
    test("BadRequestError for a request the gateway refuses", async () => {
      const malformed = { model: "gpt-4o", messages: "hello" } as unknown as ChatRequest
      const error = await failureOf(client.chat.completions.create(malformed))
      expect(error).toBeInstanceOf(clients?.openai.BadRequestError)
      expect(error.type).toBe("invalid_request_error")
    })

    test("BadRequestError for a request the provider refuses", async () => {
      const error = await failureOf(client.chat.completions.create({ ...asking("x"), model: "status-400" }))
      expect(error).toBeInstanceOf(clients?.openai.BadRequestError)
      expect(error.message).toContain("upstream says 400")
    })

    test("AuthenticationError for a wrong key, which it does not repeat", async () => {
      const error = await failureOf(clientWith("lg-wrong-key").chat.completions.create(asking("hello")))
      expect(error).toBeInstanceOf(clients?.openai.AuthenticationError)
      expect(error.code).toBe("invalid_api_key")
      expect(error.message).not.toContain("lg-wrong-key")
    })

    test("NotFoundError for an unknown model, with a suggestion", async () => {
      const error = await failureOf(client.chat.completions.create({ ...asking("x"), model: "gpt-4p" }))
      expect(error).toBeInstanceOf(clients?.openai.NotFoundError)
      expect(error.code).toBe("model_not_found")
      expect(error.message).toContain('"gpt-4o"')
    })

    test("RateLimitError for a provider that stays at its limit", async () => {
      scripted.script("always-limited", refuses(429, { "retry-after-ms": "10" }))
      const error = await failureOf(
        client.chat.completions.create({ ...asking("x"), model: "always-limited" }),
      )
      expect(error).toBeInstanceOf(clients?.openai.RateLimitError)
    })

    test("InternalServerError for a provider that fails", async () => {
      const error = await failureOf(client.chat.completions.create({ ...asking("x"), model: "status-500" }))
      expect(error).toBeInstanceOf(clients?.openai.InternalServerError)
      expect(error.status).toBe(502)
    })

    test("an error, not a clean end, for a stream that breaks in the middle", async () => {
      scripted.script("paused", async ({ write, go, reset, request }) => {
        const chunk = { id: "x", object: "chat.completion.chunk", created: 1, model: request.model }
        const data = JSON.stringify({ ...chunk, choices: [{ index: 0, delta: { content: "one" } }] })
        await write(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ${data}\n\n`)
        await go()
        reset()
      })
      const stream = await client.chat.completions.create({ ...asking("x"), model: "paused", stream: true })
      const reading = (async () => {
        for await (const _ of stream) scripted.proceed("paused")
      })()
      expect(await failureOf(reading)).toBeInstanceOf(clients?.openai.APIError)
    })
  })

  test("waits as long as retry-after says before it tries again", async () => {
    scripted.script("limited", refuses(429, { "retry-after-ms": "300" }), pausesMidway())
    scripted.proceed("limited")
    const startMs = performance.now()
    const stream = await clientWith(KEY, 1).chat.completions.create({
      ...asking("hello"),
      model: "limited",
      stream: true,
    })
    const elapsedMs = performance.now() - startMs
    for await (const _ of stream);
    expect(scripted.requests("limited")).toHaveLength(2)
    expect(elapsedMs).toBeGreaterThanOrEqual(300)
  })

  function clientWith(apiKey: string, maxRetries = 0): OpenAiClient {
    if (clients === undefined) throw new Error("test/clients is not installed")
    return new clients.openai.OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, maxRetries, timeout: 15_000 })
  }
})

function asking(prompt: string): ChatRequest {
  return { model: "gpt-4o", messages: [{ role: "user", content: prompt }] }
}

async function failureOf(promise: Promise<unknown>): Promise<ApiError> {
  return await promise.then(
    () => {
      throw new Error("expected a failure, got an answer")
    },
    (error: ApiError) => error,
  )
}
