import { afterEach, describe, expect, test } from "bun:test"
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  EmbedCall,
  EmbeddingRequest,
  EmbeddingResponse,
  ProviderCall,
} from "leapgate/plugin"
import { setUpPlugin } from "../test/plugin-context.ts"
import { waitFor } from "../test/support/wait.ts"
import exampleProvider from "./example-provider.ts"

const provider = async (config: Record<string, unknown> = {}) =>
  (await setUpPlugin(exampleProvider, { config })).abilities

interface CallOptions {
  readonly request?: Partial<ChatRequest>
  readonly signal?: AbortSignal
}

function callOf({ request = {}, signal = new AbortController().signal }: CallOptions = {}): ProviderCall {
  const whole: ChatRequest = {
    model: "demo",
    messages: [{ role: "user", content: "hello there" }],
    ...request,
  }
  return {
    requestId: "request-1",
    traceId: "0".repeat(32),
    model: whole.model,
    stream: whole.stream === true,
    request: whole,
    body: new TextEncoder().encode(JSON.stringify(whole)),
    attempt: 1,
    signal,
  }
}

function embedCallOf(request: Partial<EmbeddingRequest> = {}): EmbedCall {
  const whole: EmbeddingRequest = { model: "demo-embedding", input: "hello there", ...request }
  return {
    ...callOf(),
    model: whole.model,
    request: whole,
    body: new TextEncoder().encode(JSON.stringify(whole)),
  }
}

describe("the demo", () => {
  const answer = async (request: Partial<ChatRequest>) =>
    (await (await provider()).chat(callOf({ request }))) as ChatCompletion
  const stream = async (options: CallOptions) =>
    (await (await provider()).chat(callOf(options))) as AsyncIterable<ChatCompletionChunk>
  const textOf = ({ choices }: ChatCompletion) => String(choices[0]?.message.content)

  test("says what it is and what it was told", async () => {
    const text = textOf(await answer({ model: "demo-large" }))
    expect(text).toContain("Hello from demo-large")
    expect(text).toContain("demo")
    expect(text).toContain('"hello there"')
  })

  test("gives the same answer to the same question", async () => {
    expect(textOf(await answer({}))).toBe(textOf(await answer({})))
  })

  test("is a whole completion, with usage that adds up", async () => {
    const completion = await answer({})
    expect(completion).toMatchObject({
      id: "chatcmpl-request-1",
      object: "chat.completion",
      model: "demo",
      choices: [{ index: 0, message: { role: "assistant" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: Math.ceil(textOf(completion).length / 4) },
    })
    const { prompt_tokens = 0, completion_tokens = 0, total_tokens } = completion.usage ?? {}
    expect(total_tokens).toBe(prompt_tokens + completion_tokens)
  })

  test("echoes the last thing the user said, from parts too, and only its beginning", async () => {
    const messages = [
      { role: "user", content: "first" },
      {
        role: "user",
        content: [{ type: "text", text: "look" }, { type: "image_url" }, { type: "text", text: "here" }],
      },
      { role: "assistant", content: "not this" },
    ]
    expect(textOf(await answer({ messages }))).toContain('"look here"')
    expect(
      textOf(await answer({ messages: [{ role: "user", content: "x".repeat(5000) }] })).length,
    ).toBeLessThan(500)
  })

  test.each<[string, unknown]>([
    ["no content", [{ role: "user" }]],
    ["null content", [{ role: "user", content: null }]],
    ["an image only", [{ role: "user", content: [{ type: "image_url", image_url: {} }] }]],
    ["no user", [{ role: "system", content: "rules" }]],
    ["null as a message", [null]],
    ["null as a part", [{ role: "user", content: [null] }]],
    ["numbers as content", [{ role: "user", content: [1, { text: 2 }] }]],
  ])("answers a request with %s", async (_, messages) => {
    expect(textOf(await answer({ messages: messages as ChatRequest["messages"] }))).toContain("had no text")
  })

  test("streams the same text, word by word", async () => {
    const chunks = await Array.fromAsync(await stream({ request: { stream: true } }))
    const deltas = chunks.map((chunk) => chunk.choices[0]?.delta ?? {})
    expect(deltas[0]).toEqual({ role: "assistant", content: "" })
    expect(deltas.map(({ content }) => content ?? "").join("")).toBe(textOf(await answer({})))
    expect(chunks.length).toBeGreaterThan(10)
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("stop")
    expect(chunks.every((chunk) => !("usage" in chunk))).toBe(true)
  })

  test("sends usage in a last chunk of its own where the client asks for it", async () => {
    const request = { stream: true, stream_options: { include_usage: true } }
    const chunks = await Array.fromAsync(await stream({ request }))
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: (await answer({})).usage })
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true)
  })

  test("stops when nobody listens any more", async () => {
    const client = new AbortController()
    const received: ChatCompletionChunk[] = []
    const reading = (async () => {
      for await (const chunk of await stream({ request: { stream: true }, signal: client.signal })) {
        received.push(chunk)
        if (received.length === 3) client.abort(new Error("left"))
      }
    })()
    await expect(reading).rejects.toThrow("left")
    expect(received).toHaveLength(3)
  })

  test("lists its models and needs no health check", async () => {
    const { models, healthCheck } = await provider()
    expect(models).toMatchObject([{ id: "demo" }, { id: "demo-large" }, { id: "demo-embedding" }])
    expect(healthCheck).toBeUndefined()
  })

  test("does not chat with the model for embeddings", async () => {
    await expect(answer({ model: "demo-embedding" })).rejects.toMatchObject({
      code: "upstream_rejected",
      status: 404,
      message: "demo-embedding makes embeddings and does not chat; ask for it at /v1/embeddings",
    })
  })
})

describe("the demo's embeddings", () => {
  const embed = async (request: Partial<EmbeddingRequest> = {}) =>
    (await (await provider()).embed?.(embedCallOf(request))) as EmbeddingResponse
  const vectorsOf = async (request: Partial<EmbeddingRequest>) =>
    (await embed(request)).data.map(({ embedding }) => embedding as number[])

  test("are a whole response with one vector for each input, and usage", async () => {
    const input = ["hello there", "again"]
    expect(await embed({ input })).toMatchObject({
      object: "list",
      data: [
        { object: "embedding", index: 0 },
        { object: "embedding", index: 1 },
      ],
      model: "demo-embedding",
      usage: { prompt_tokens: 5, total_tokens: 5 },
    })
  })

  test.each([undefined, 1, 3, 1024])("have length 1 with %p dimensions", async (dimensions) => {
    const [vector = []] = await vectorsOf(dimensions === undefined ? {} : { dimensions })
    expect(vector).toHaveLength(dimensions ?? 64)
    expect(Math.hypot(...vector)).toBeCloseTo(1, 12)
  })

  test("are the same for the same input, and others for another", async () => {
    const [first, second, third] = await vectorsOf({ input: ["a", "a", "b"] })
    expect(second).toEqual(first as number[])
    expect(third).not.toEqual(first as number[])
  })

  test("take token numbers, as one input or in lists", async () => {
    const [one] = await vectorsOf({ input: [1, 2] })
    expect(await vectorsOf({ input: [[1, 2], [3]] })).toEqual([one as number[], expect.any(Array)])
    expect((await embed({ input: [[1, 2], [3]] })).usage.prompt_tokens).toBe(3)
  })

  test.each([
    [{ model: "demo" }, "demo makes no embeddings; the demo's model for them is demo-embedding"],
    [{ dimensions: 1025 }, 'the demo takes at most 1024 of "dimensions", got 1025'],
    [{ input: Array.from({ length: 257 }, () => "a") }, 'the demo takes at most 256 of "input", got 257'],
  ])("refuse %j", async (request, message) => {
    await expect(embed(request)).rejects.toMatchObject({ code: "upstream_rejected", message })
  })
})

describe("the estimate of a price", () => {
  const estimate = async (request: Partial<ChatRequest>) =>
    (await provider()).estimateCost?.(callOf({ request }).request)

  test("is a token for four characters in, and a thousand tokens out", async () => {
    const messages = [{ role: "user", content: "x".repeat(4000) }]
    expect(await estimate({ messages })).toBeCloseTo((1000 * 0.1 + 1000 * 0.4) / 1e6, 12)
    expect(await estimate({ messages, model: "demo-large" })).toBeCloseTo((1000 * 1 + 1000 * 4) / 1e6, 12)
  })

  test("takes the client's limit where there is one", async () => {
    const messages = [{ role: "user", content: "" }]
    expect(await estimate({ messages, max_tokens: 10 })).toBeCloseTo((10 * 0.4) / 1e6, 12)
    expect(await estimate({ messages, max_tokens: 10, max_completion_tokens: 20 })).toBeCloseTo(
      (20 * 0.4) / 1e6,
      12,
    )
  })

  test("of a model without a price is not known", async () => {
    expect(await estimate({ model: "other" })).toBeNull()
  })
})

describe("an endpoint", () => {
  const servers: { stop(closeActiveConnections: boolean): unknown }[] = []
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.stop(true)))
  })

  function upstream(fetch: (request: Request) => Response | Promise<Response>): string {
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch })
    servers.push(server)
    return `http://127.0.0.1:${server.port}/v1`
  }

  const chat = async (config: Record<string, unknown>, options?: CallOptions) =>
    (await (await provider(config)).chat(callOf(options))) as Response

  test("gets the body as it is, with the key, and its reply comes back as it is", async () => {
    const seen: unknown[] = []
    const api_endpoint = upstream(async (request) => {
      const { method, url, headers } = request
      seen.push([method, new URL(url).pathname, headers.get("authorization"), headers.get("content-type")])
      seen.push(await request.text())
      return new Response("slow down", { status: 429, headers: { "retry-after": "7" } })
    })
    const call = callOf()
    const reply = (await (
      await provider({ api_endpoint: `${api_endpoint}/`, api_key: "k-1" })
    ).chat(call)) as Response
    expect(seen).toEqual([
      ["POST", "/v1/chat/completions", "Bearer k-1", "application/json"],
      new TextDecoder().decode(call.body),
    ])
    expect([reply.status, reply.headers.get("retry-after"), await reply.text()]).toEqual([
      429,
      "7",
      "slow down",
    ])
  })

  test("gets requests for embeddings too", async () => {
    const seen: unknown[] = []
    const api_endpoint = upstream(async (request) => {
      seen.push(new URL(request.url).pathname, await request.text())
      return new Response("vectors")
    })
    const call = embedCallOf({ encoding_format: "base64" })
    const reply = (await (await provider({ api_endpoint })).embed?.(call)) as Response
    expect(await reply.text()).toBe("vectors")
    expect(seen).toEqual(["/v1/embeddings", new TextDecoder().decode(call.body)])
  })

  test("gets no authorization header where there is no key", async () => {
    const api_endpoint = upstream((request) => Response.json([...request.headers.keys()]))
    expect(await (await chat({ api_endpoint })).json()).not.toContain("authorization")
  })

  test("that cannot be reached is tried again, then named", async () => {
    // A server that is gone: its port was free a moment ago and refuses connections.
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() })
    const port = server.port
    await server.stop(true)
    await expect(chat({ api_endpoint: `http://127.0.0.1:${port}`, max_retries: 1 })).rejects.toMatchObject({
      code: "upstream_unreachable",
      message: `example-provider could not reach 127.0.0.1:${port} in 2 tries; check api_endpoint`,
    })
  })

  test("that breaks the connection is tried again until it answers", async () => {
    let connections = 0
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: () => void connections++,
        data(socket) {
          if (connections === 1) socket.terminate()
          else socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        },
      },
    })
    servers.push(listener)
    const reply = await chat({ api_endpoint: `http://127.0.0.1:${listener.port}` })
    expect(await reply.text()).toBe("ok")
    expect(connections).toBe(2)
  })

  test("that is too slow is a timeout, and not tried again", async () => {
    let requests = 0
    const api_endpoint = upstream(() => {
      requests++
      return new Promise<Response>(() => {})
    })
    await expect(chat({ api_endpoint, timeout: "50ms" })).rejects.toMatchObject({ code: "upstream_timeout" })
    expect(requests).toBe(1)
  })

  test("may take longer for the body than for the headers", async () => {
    const { promise: sent, resolve: send } = Promise.withResolvers<void>()
    const api_endpoint = upstream(
      () =>
        new Response(
          (async function* () {
            yield "first "
            await sent
            yield "second"
          })(),
        ),
    )
    const reply = await chat({ api_endpoint, timeout: "100ms" })
    setTimeout(send, 300)
    expect(await reply.text()).toBe("first second")
  })

  test("learns that the client has left while it prepares its answer", async () => {
    const seen = { requests: 0, aborts: 0 }
    const api_endpoint = upstream(({ signal }) => {
      seen.requests++
      signal.addEventListener("abort", () => void seen.aborts++)
      return new Promise<Response>(() => {})
    })
    const client = new AbortController()
    const waiting = chat({ api_endpoint }, { signal: client.signal })
    await waitFor("the request to arrive", () => seen.requests === 1)
    client.abort(new Error("left"))
    await expect(waiting).rejects.toThrow("left")
    await waitFor("the upstream to notice", () => seen.aborts === 1)
  })

  test("learns that the client has left in the middle of its answer", async () => {
    let aborts = 0
    const api_endpoint = upstream(({ signal }) => {
      signal.addEventListener("abort", () => void aborts++)
      return new Response(
        (async function* () {
          yield "first"
          await new Promise(() => {})
        })(),
      )
    })
    const client = new AbortController()
    const reply = await chat({ api_endpoint }, { signal: client.signal })
    client.abort(new Error("left"))
    await expect(reply.text()).rejects.toThrow("left")
    await waitFor("the upstream to notice", () => aborts === 1)
  })

  test("is not tried again once the client has left", async () => {
    const client = new AbortController()
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() })
    const api_endpoint = `http://127.0.0.1:${server.port}`
    await server.stop(true)
    const waiting = chat({ api_endpoint, max_retries: 10 }, { signal: client.signal })
    setTimeout(() => client.abort(new Error("left")), 20)
    await expect(waiting).rejects.toThrow("left")
  })

  test.each([
    [200, undefined],
    [404, undefined],
    [401, "upstream_auth_failed"],
    [403, "upstream_auth_failed"],
    [503, "upstream_server_error"],
  ])("that answers %p to its list of models is healthy unless %p", async (status, code) => {
    const paths: string[] = []
    const api_endpoint = upstream((request) => {
      paths.push(new URL(request.url).pathname)
      return new Response("x", { status })
    })
    const { healthCheck } = await provider({ api_endpoint })
    const check = healthCheck?.({ signal: new AbortController().signal })
    if (code === undefined) await check
    else await expect(check).rejects.toMatchObject({ code })
    expect(paths).toEqual(["/v1/models"])
  })

  test("serves the models it is said to serve, with a price only where one is known", async () => {
    const { models } = await provider({ api_endpoint: "https://example.com/v1", models: ["demo", "other"] })
    expect(models).toEqual([expect.objectContaining({ id: "demo", inputCostUsd: 0.1 }), { id: "other" }])
  })

  test.each(["example.com", "ftp://example.com", "https://a b"])(
    "%j is no endpoint",
    async (api_endpoint) => {
      await expect(provider({ api_endpoint })).rejects.toThrow(
        'must be a URL such as "https://api.example.com/v1"',
      )
    },
  )
})
