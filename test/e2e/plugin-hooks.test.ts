/** What a plugin can do to a call, seen from the client and from the provider. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { askPlain, errorOf, postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readStream, readWholeStream } from "../support/streamed-reply.ts"
import { answers, pausesMidway, refuses } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

const SECRET = "correct horse battery staple"
/** Longer than the window of text that is held back for `onText`. */
const LONG_TEXT = "a few words and some more ".repeat(5)

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["from ", "the ", "first"]))
  upstream.script("other", answers(["from ", "the ", "second"]))
  upstream.script("down", refuses(503))
  upstream.script("leaky", answers(["the password is corr", "ect horse bat", "tery st", "aple, keep it"]))
  upstream.script("counting", answers(["one ", "two ", "three ", "four ", "five"]))
  upstream.script("paused", pausesMidway(["early ", "late"]))
  gateway = await startGateway({
    config: {
      providers: [
        {
          name: "first",
          base_url: upstream.url,
          models: ["good", "leaky", "counting", "paused"],
        },
        { name: "second", base_url: upstream.url, models: ["other"] },
        { name: "failing", base_url: upstream.url, models: ["down"] },
      ],
      models: { backed: ["failing/down", "second/other"] },
      routing: { max_retries: 1 },
    },
    plugins: PLUGINS,
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

describe("onRequest", () => {
  test("rejects with its own status, code and text, and no provider is asked", async () => {
    const asked = upstream.requests().length
    for (const stream of [false, true]) {
      const response = await postChat(gateway.url, { model: "good", prompt: "forbidden word", stream })
      expect(response.status).toBe(451)
      expect(await errorOf(response)).toMatchObject({ code: "request_rejected", message: "not that word" })
    }
    expect(upstream.requests()).toHaveLength(asked)
  })

  test("sends the request to another model", async () => {
    const response = await postChat(gateway.url, { model: "good", prompt: "take the other" })
    expect(await response.text()).toContain("from the second")
  })

  test("changes what the provider is asked", async () => {
    await postChat(gateway.url, { model: "good", prompt: "be polite" })
    const sent = JSON.parse(upstream.requests("good").at(-1)?.body ?? "") as Record<string, unknown>
    expect(sent).toMatchObject({ model: "good", temperature: 0.25 })
  })
})

describe("onChunk", () => {
  test("replaces and drops chunks, and the stream stays whole", async () => {
    const stream = await streamOf("counting", "shout and skip two")
    expect(stream).toMatchObject({
      text: "ONE THREE FOUR FIVE",
      finishReason: "stop",
      isDone: true,
      end: "clean",
    })
    expect(stream.chunks.findLast((chunk) => chunk.usage)?.usage).toMatchObject({ total_tokens: 7 })
  })

  test("ends a stream with its own error", async () => {
    const stream = await streamOf("counting", "stop at three")
    expect(stream).toMatchObject({ text: "one two ", isDone: false, end: "clean", afterTheEnd: [] })
    expect(stream.error).toMatchObject({ code: "request_rejected", message: "three is too much" })
    await waitFor("the provider to be let go", () => {
      const request = upstream.requests("counting").at(-1)
      return request !== undefined && (request.abortedAtMs !== undefined || request.sentBytes > 500)
    })
  })
})

describe("onText", () => {
  test("replaces text that spans chunks", async () => {
    const stream = await streamOf("leaky", "redact")
    expect(stream.text).toBe("the password is [removed], keep it")
    expect(stream).toMatchObject({ finishReason: "stop", isDone: true, end: "clean" })
    expect(stream.chunks.map((chunk) => JSON.stringify(chunk)).join("")).not.toContain("horse")
  })

  test("replaces text of a plain reply", async () => {
    const response = await postChat(gateway.url, { model: "leaky", prompt: "redact" })
    const text = await response.text()
    expect(text).toContain("the password is [removed], keep it")
    expect(text).not.toContain(SECRET)
  })

  test("does not hold a whole stream back", async () => {
    upstream.script("paused", pausesMidway([LONG_TEXT, "late"]))
    const reader = readStream(
      await postChat(gateway.url, { model: "paused", prompt: "redact", stream: true }),
    )
    await reader.untilText()
    upstream.proceed("paused")
    expect((await reader.rest()).text).toEndWith("late")
  })
})

describe("a router plugin", () => {
  test("chooses the provider and the model", async () => {
    const response = await postChat(gateway.url, { model: "good", headers: { "x-route-to": "second/other" } })
    expect(await response.text()).toContain("from the second")
  })

  test("that names nobody leaves the choice to the strategy", async () => {
    const response = await postChat(gateway.url, { model: "good", headers: { "x-route-to": "nobody" } })
    expect(await response.text()).toContain("from the first")
  })

  test("that chooses a provider that fails still has the others behind it", async () => {
    const response = await postChat(gateway.url, { model: "good", headers: { "x-route-to": "failing/down" } })
    expect(await response.text()).toContain("from the first")
  })
})

describe("observers", () => {
  test("are told of a provider switch at a fail-over", async () => {
    expect(await askPlain(gateway.url, "backed")).toBe("from the second")
    const event = await observed("onProviderSwitch", "backed")
    expect(event).toMatchObject({ fromProvider: "failing", toProvider: "second", reason: "failover" })
  })

  test("are told of an answer, with its usage, provider and attempts", async () => {
    const response = await postChat(gateway.url, {
      model: "backed",
      headers: { "x-request-id": "observed-1" },
    })
    await response.text()
    const event = await observed("onResponse", "observed-1")
    expect(event).toMatchObject({
      requestId: "observed-1",
      provider: "second",
      attempt: 2,
      responseStatus: 200,
      tokensUsed: 7,
      usage: { total_tokens: 7 },
    })
  })

  test("are told how a stream ended", async () => {
    const response = await postChat(gateway.url, {
      model: "good",
      stream: true,
      headers: { "x-request-id": "observed-2" },
    })
    await readWholeStream(response)
    expect(await observed("onStreamEnd", "observed-2")).toMatchObject({
      outcome: "complete",
      usage: { total_tokens: 7 },
    })
  })

  test("are told that a client left", async () => {
    upstream.script("paused", pausesMidway([LONG_TEXT, "late"]))
    const controller = new AbortController()
    const response = await postChat(gateway.url, {
      model: "paused",
      stream: true,
      headers: { "x-request-id": "observed-3" },
      signal: controller.signal,
    })
    await readStream(response).untilText()
    controller.abort()
    expect(await observed("onStreamEnd", "observed-3")).toMatchObject({ outcome: "client_closed" })
  })

  test("are told of a failure", async () => {
    const response = await postChat(gateway.url, { model: "down", headers: { "x-request-id": "observed-4" } })
    expect(response.status).toBe(502)
    expect(await observed("onError", "observed-4")).toMatchObject({
      requestId: "observed-4",
      errorType: "server_error",
      retryable: true,
    })
  })
})

async function streamOf(model: string, prompt: string) {
  return await readWholeStream(await postChat(gateway.url, { model, prompt, stream: true }))
}

/** The observer plugin tells what it saw in a header of any later reply. */
async function observed(hook: string, marker: string): Promise<Record<string, unknown>> {
  return await waitFor(`${hook} to be told of ${marker}`, async () => {
    const response = await postChat(gateway.url, { model: "good", headers: { "x-tell": hook } })
    await response.arrayBuffer()
    const events = JSON.parse(response.headers.get("x-told") ?? "[]") as Record<string, unknown>[]
    return events.findLast((event) => JSON.stringify(event).includes(marker))
  })
}

const PLUGINS = {
  "guard.ts": `import { definePlugin, GatewayError } from "leapgate/plugin"
export default definePlugin({
  name: "guard", version: "1.0.0", type: "middleware",
  setup: () => ({
    hooks: {
      onRequest({ request }) {
        const prompt = String(request.messages.at(-1)?.content)
        if (prompt.includes("forbidden")) throw new GatewayError("request_rejected", "not that word", { status: 451 })
        if (prompt.includes("the other")) return { model: "other" }
        if (prompt.includes("polite")) return { request: { ...request, temperature: 0.25 } }
        return { metadata: { prompt } }
      },
      onChunk({ chunk, metadata }) {
        const prompt = String(metadata.prompt)
        const text = chunk.choices[0]?.delta.content ?? ""
        if (prompt.includes("stop at three") && text.startsWith("three")) {
          throw new GatewayError("request_rejected", "three is too much")
        }
        if (!prompt.includes("shout")) return
        if (text.startsWith("two")) return null
        if (text === "") return
        return { ...chunk, choices: [{ ...chunk.choices[0], delta: { content: text.toUpperCase() } }] }
      },
      onText({ text, metadata }) {
        if (metadata.prompt === "redact") return text.replaceAll("${SECRET}", "[removed]")
      },
    },
  }),
})`,
  "chooser.ts": `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "chooser", version: "1.0.0", type: "router",
  setup: () => ({
    routeRequest: (request) => request.headers.has("x-route-to"),
    selectProvider: (request) => request.headers.get("x-route-to") ?? undefined,
  }),
})`,
  "observer.ts": `import { definePlugin } from "leapgate/plugin"
const seen = { onProviderSwitch: [], onResponse: [], onStreamEnd: [], onError: [] }
const note = (hook) => (event) => {
  const { error, response, ...plain } = event
  seen[hook] = [...seen[hook], plain].slice(-8)
}
export default definePlugin({
  name: "observer", version: "1.0.0", type: "middleware",
  setup: () => ({
    priority: 90,
    beforeHandle(context) {
      const hook = context.headers.get("x-tell")
      if (hook !== null) context.setHeader("x-told", JSON.stringify(seen[hook]))
    },
    hooks: Object.fromEntries(Object.keys(seen).map((hook) => [hook, note(hook)])),
  }),
})`,
}
