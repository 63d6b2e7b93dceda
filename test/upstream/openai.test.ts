import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import { systemClock } from "../../src/clock.ts"
import { GatewayError } from "../../src/errors.ts"
import type { ProviderAbilities, ProviderCall } from "../../src/plugin/contract.ts"
import { createOpenAiProvider, type OpenAiProviderConfig } from "../../src/upstream/openai.ts"
import { createTransport, type Transport } from "../../src/upstream/transport.ts"

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: Headers
  readonly body: string
}

const BODY = '{"model":"m-1","messages":[{"role":"user","content":"grün"}]}'
const seen: Seen[] = []
let answer: () => Response
let transport: Transport
let server: Bun.Server<undefined>

beforeAll(() => {
  transport = createTransport({ clock: systemClock, env: {} })
  server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const { method, url, headers } = request
      seen.push({ method, url, headers, body: await request.text() })
      return answer()
    },
  })
})

beforeEach(() => {
  seen.length = 0
  answer = () => Response.json({ id: "1" })
})

afterAll(async () => {
  transport.close()
  await server.stop(true)
})

describe("chat", () => {
  test("posts the bytes of the call to chat/completions and returns the reply untouched", async () => {
    answer = () => new Response("anything", { status: 418, headers: { "x-a": "b" } })
    const reply = (await provider().chat(call())) as Response
    expect(reply).toBeInstanceOf(Response)
    expect(reply.status).toBe(418)
    expect(reply.headers.get("x-a")).toBe("b")
    expect(await reply.text()).toBe("anything")
    expect(seen).toMatchObject([{ method: "POST", url: urlOf("/v1/chat/completions"), body: BODY }])
  })

  test("posts requests for embeddings to embeddings", async () => {
    const reply = (await provider().embed?.({ ...call(), request: { model: "m-1", input: "x" } })) as Response
    expect(await reply.json()).toEqual({ id: "1" })
    expect(seen).toMatchObject([{ method: "POST", url: urlOf("/v1/embeddings"), body: BODY }])
    expect(seen[0]?.headers.get("accept")).toBe("application/json")
    expect(seen[0]?.headers.get("x-request-id")).toBe(call().requestId)
  })

  test.each(["/v1", "/v1/", "/v1//"])("accepts a base_url that ends in %s", async (end) => {
    await provider({ baseUrl: urlOf(end) }).chat(call())
    expect(seen[0]?.url).toBe(urlOf("/v1/chat/completions"))
  })

  test("keeps the query of a base_url", async () => {
    await provider({ baseUrl: urlOf("/openai?api-version=2024-10-21") }).chat(call())
    expect(seen[0]?.url).toBe(urlOf("/openai/chat/completions?api-version=2024-10-21"))
  })

  test("sends the key, who asks, and what it accepts", async () => {
    await provider().chat(call())
    await provider().chat({ ...call(), stream: true })
    expect(Object.fromEntries(seen[0]?.headers ?? [])).toMatchObject({
      authorization: "Bearer the-key",
      "content-type": "application/json",
      "user-agent": "leapgate/9.8.7",
      "x-request-id": "request-1",
      accept: "application/json",
    })
    expect(seen[1]?.headers.get("accept")).toBe("text/event-stream")
  })

  test("sends no authorization without a key", async () => {
    await provider({ apiKey: "" }).chat(call())
    expect(seen[0]?.headers.has("authorization")).toBe(false)
  })

  test("sends the provider's own headers, which win whatever their case", async () => {
    await provider({ headers: { "API-Key": "k2", Authorization: "Basic abc", "User-Agent": "mine" } }).chat(
      call(),
    )
    const headers = seen[0]?.headers
    expect(headers?.get("api-key")).toBe("k2")
    expect(headers?.get("authorization")).toBe("Basic abc")
    expect(headers?.get("user-agent")).toBe("mine")
  })

  test("passes a stream on as it comes", async () => {
    const streamed = "data: {}\n\ndata: [DONE]\n\n"
    answer = () => new Response(streamed, { headers: { "content-type": "text/event-stream" } })
    const reply = (await provider().chat({ ...call(), stream: true })) as Response
    expect(await reply.text()).toBe(streamed)
  })
})

describe("the health check", () => {
  test.each([200, 404, 405])("takes a list of models that answers %d for life", async (status) => {
    answer = () => new Response("{}", { status })
    await checkHealth(provider())
    expect(seen).toMatchObject([{ method: "GET", url: urlOf("/v1/models") }])
  })

  test.each([
    [401, "upstream_auth_failed"],
    [429, "upstream_rate_limited"],
    [503, "upstream_server_error"],
  ] as const)("fails with status %d as %s", async (status, code) => {
    answer = () => new Response("no", { status })
    const thrown: unknown = await checkHealth(provider()).catch((reason: unknown) => reason)
    expect(thrown).toBeInstanceOf(GatewayError)
    expect((thrown as GatewayError).code).toBe(code)
    expect((thrown as GatewayError).message).toContain('provider "acme"')
  })
})

describe("a config that cannot work is refused when the provider is made:", () => {
  test.each([
    [{ baseUrl: "api.example.com/v1" }, "base_url is not a URL"],
    [{ apiKey: "line\nbreak" }, "api_key has a character that HTTP does not allow"],
    [{ headers: { "x-a": "line\nbreak" } }, 'header "x-a" has a character that HTTP does not allow'],
    [{ headers: { "x a": "b" } }, 'header "x a" has a character that HTTP does not allow'],
    [{ headers: { "Content-Length": "3" } }, 'headers must not set "Content-Length"'],
  ])("%j", (config, message) => {
    expect(() => provider(config)).toThrow(
      expect.objectContaining({ code: "config_invalid", message: expect.stringContaining(message) }),
    )
    expect(() => provider(config)).not.toThrow("break")
  })
})

function provider(config: Partial<OpenAiProviderConfig> = {}): ProviderAbilities {
  return createOpenAiProvider({
    config: {
      name: "acme",
      baseUrl: urlOf("/v1"),
      apiKey: "the-key",
      headers: {},
      models: ["m-1"],
      connectTimeoutMs: 5000,
      ...config,
    },
    transport,
    version: "9.8.7",
  })
}

async function checkHealth({ healthCheck }: ProviderAbilities): Promise<void> {
  await healthCheck?.({ signal: new AbortController().signal })
}

function call(): ProviderCall {
  return {
    requestId: "request-1",
    traceId: "trace-1",
    model: "m-1",
    stream: false,
    request: JSON.parse(BODY),
    body: new TextEncoder().encode(BODY),
    attempt: 1,
    signal: new AbortController().signal,
  }
}

function urlOf(path: string): string {
  return `http://127.0.0.1:${server.port}${path}`
}
