/** What transform plugins do to calls, seen from the client and from the provider. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { errorOf, postChat } from "../support/chat.ts"
import { loadClients } from "../support/clients.ts"
import { completion, sseEvent, streamedAnswer, textChunk } from "../support/completions.ts"
import { embeddings, postEmbeddings } from "../support/embeddings.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readWholeStream } from "../support/streamed-reply.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"
import { chunked, json, LAST_CHUNK, streamHead } from "../support/wire.ts"

const clients = await loadClients()

let upstream: HostileUpstream

beforeAll(() => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["one ", "two ", "three"]))
  upstream.script("other", answers(["from ", "the ", "other"]))
})

afterAll(() => upstream?.stop())

describe("transforms", () => {
  let gateway: RunningGateway

  beforeAll(async () => {
    gateway = await gatewayWith({
      "outer.ts": tracer("outer", 90),
      "inner.ts": tracer("inner", 20),
      "hooked.ts": HOOKED,
      "deaf.ts": DEAF,
    })
  })

  afterAll(() => gateway?.stop())

  test("see requests by priority, each what the one before made of it, and the provider sees the last", async () => {
    await postChat(gateway.url, { model: "good", prompt: "trace" })
    expect(promptSent()).toBe("trace hook outer inner")
  })

  test("see plain replies the other way round", async () => {
    const response = await postChat(gateway.url, { model: "good", prompt: "trace" })
    expect(await response.json()).toEqual(completion("good", "one two three inner outer text"))
  })

  test("see chunks the other way round, before hooks do", async () => {
    const stream = await streamOf("trace")
    expect(stream).toMatchObject({ finishReason: "stop", isDone: true, end: "clean" })
    const text = "one  inner outer chunk two  inner outer chunk three inner outer chunk text"
    expect(stream.text).toBe(text)
  })

  test("share values over one call, and over no other", async () => {
    for (const stream of [false, true]) {
      const response = await postChat(gateway.url, { model: "good", prompt: "values", stream })
      expect(await response.text()).toContain("seen by outer and inner as well")
    }
  })

  test("leave alone what they return nothing for", async () => {
    const fields = { temperature: 0.125, prompt: "nothing" }
    const response = await postChat(gateway.url, { model: "good", ...fields })
    expect(await response.json()).toEqual(completion("good", "one two three"))
    expect(JSON.parse(upstream.requests("good").at(-1)?.body ?? "")).toEqual({
      model: "good",
      messages: [{ role: "user", content: "nothing" }],
      temperature: 0.125,
    })
    expect((await streamOf("nothing")).text).toBe("one two three")
  })

  test("drop chunks, and those after them do not see it", async () => {
    const stream = await streamOf("drop two")
    expect(stream).toMatchObject({ text: "one three", finishReason: "stop", isDone: true, end: "clean" })
  })

  test("end a stream with their own error", async () => {
    const stream = await streamOf("stop at three")
    expect(stream).toMatchObject({ text: "one two ", isDone: false, end: "clean", afterTheEnd: [] })
    expect(stream.error).toMatchObject({ code: "request_rejected", message: "three is too much" })
  })

  test("reject a request or a reply, and no answer is sent", async () => {
    const asked = upstream.requests().length
    const request = await postChat(gateway.url, { model: "good", prompt: "reject the request" })
    expect(request.status).toBe(451)
    expect(await errorOf(request)).toMatchObject({ code: "request_rejected" })
    expect(upstream.requests()).toHaveLength(asked)
    const reply = await postChat(gateway.url, { model: "good", prompt: "reject the reply" })
    expect(reply.status).toBe(452)
    expect(await reply.text()).not.toContain("one two")
  })

  test("may choose another model, but not whether it streams", async () => {
    const response = await postChat(gateway.url, { model: "good", prompt: "flip" })
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: "from the other" } }] })
    expect(JSON.parse(upstream.requests("other").at(-1)?.body ?? "")).toMatchObject({ stream: false })
    expect(await streamOf("flip")).toMatchObject({ text: "from the other", isDone: true })
  })

  test("see the model that a hook chose, and keep it", async () => {
    await postChat(gateway.url, { model: "good", prompt: "trace", headers: { "x-model": "other" } })
    expect(promptSent("other")).toBe("trace hook outer inner")
  })

  test("cannot change what they are handed", async () => {
    const response = await postChat(gateway.url, { model: "good", prompt: "mutate" })
    expect(await response.json()).toEqual(completion("good", "frozen frozen"))
    expect(promptSent()).toBe("mutate")
  })

  test("that do not support the format are left out, and asked for nothing", async () => {
    await postChat(gateway.url, { model: "good", prompt: "trace" })
    expect(gateway.logs()).not.toContain("the deaf one was called")
  })

  test.skipIf(clients === undefined)("are seen by the official client", async () => {
    const { OpenAI } = (clients ?? { openai: undefined }).openai ?? {}
    if (OpenAI === undefined) throw new Error("the client is not installed")
    const client = new OpenAI({ apiKey: "none", baseURL: `${gateway.url}/v1`, maxRetries: 0 })
    const request = { model: "good", messages: [{ role: "user", content: "trace" }] }
    const { choices, usage } = await client.chat.completions.create(request)
    expect(choices[0]?.message.content).toBe("one two three inner outer text")
    expect(usage?.total_tokens).toBe(7)
    const whole = await client.chat.completions.stream(request).finalChatCompletion()
    expect(whole.choices[0]?.message.content).toBe(
      "one  inner outer chunk two  inner outer chunk three inner outer chunk text",
    )
  })

  async function streamOf(prompt: string) {
    return await readWholeStream(await postChat(gateway.url, { model: "good", prompt, stream: true }))
  }
})

describe("a transform that fails", () => {
  const steps = ["transformRequest", "transformResponse", "transformChunk"]
  const deeds = ["throws", "never settles", "returns rubbish"]
  const cases = steps.flatMap((step) => deeds.map((deed) => [step, deed] as const))
  let gateway: RunningGateway

  beforeAll(async () => {
    const timeout = "150ms"
    gateway = await gatewayWith(
      Object.fromEntries(["bad", "bad-closed", "bad-open"].map((name) => [`${name}.ts`, rascal(name)])),
      {
        bad: { timeout },
        "bad-closed": { timeout, on_error: "closed" },
        "bad-open": { timeout, on_error: "open" },
      },
    )
  })

  afterAll(() => gateway?.stop())

  describe.each(["bad", "bad-closed"])("and is not set to fail open (%s)", (name) => {
    test.each(cases)("in %s, where it %s, fails its request by name", async (step, deed) => {
      const isChunk = step === "transformChunk"
      const prompt = `${name} ${step} ${deed}`
      const errors = await countedErrors(gateway, name)
      const response = await postChat(gateway.url, { model: "good", prompt, stream: isChunk })
      expect(response.status).toBe(isChunk ? 200 : 503)
      const text = await response.text()
      expect(text).toMatch(/"code":"plugin_(failed|timeout)"/)
      expect(text).toContain(`plugin \\"${name}\\"`)
      expect(text).not.toContain("a secret")
      expect(text).not.toContain("[DONE]")
      expect(await countedErrors(gateway, name)).toBe(errors + 1)
    })
  })

  test.each(cases)("in %s, where it %s, costs nothing with on_error: open", async (step, deed) => {
    const stream = step === "transformChunk"
    const errors = await countedErrors(gateway, "bad-open")
    const response = await postChat(gateway.url, {
      model: "good",
      prompt: `bad-open ${step} ${deed}`,
      stream,
    })
    if (stream) {
      const whole = await readWholeStream(response)
      expect(whole).toMatchObject({ text: "one two three", isDone: true, end: "clean" })
    } else {
      expect(await response.json()).toEqual(completion("good", "one two three"))
    }
    expect(await countedErrors(gateway, "bad-open")).toBeGreaterThan(errors)
  })

  test("in what it returns, below the surface, fails its request as a bad request does", async () => {
    await using gateway = await gatewayWith({
      "bad.ts": failing("transformRequest", 'return { ...request, temperature: "hot" }'),
    })
    const response = await postChat(gateway.url, { model: "good" })
    expect(response.status).toBe(400)
    expect(await errorOf(response)).toMatchObject({ code: "invalid_request", param: "temperature" })
  })

  test.each([
    ["throws", 'throw new Error("a reason")', "transform.supportsFormat: a reason"],
    ["is rubbish", 'return "yes"', "transform.supportsFormat: returned string, expected a boolean"],
  ])(
    "in supportsFormat, which %s, fails requests, and is left out where it may be",
    async (_, body, reason) => {
      const source = failing("transformRequest", 'throw new Error("called")', body)
      await using guarded = await gatewayWith({ "bad.ts": source })
      expect((await postChat(guarded.url, { model: "good" })).status).toBe(503)
      expect((await postEmbeddings(guarded.url, { model: "demo-embedding" })).status).toBe(503)

      await using gateway = await gatewayWith({ "bad.ts": source }, { bad: { on_error: "open" } })
      expect((await postChat(gateway.url, { model: "good" })).status).toBe(200)
      await waitFor("the failure to be counted", async () => (await countedErrors(gateway, "bad")) > 0)
      expect(JSON.stringify(await infoOf(gateway))).toContain(reason)
    },
  )

  test("in supportsFormat is switched off where it is set to be", async () => {
    await using gateway = await gatewayWith(
      { "bad.ts": failing("transformRequest", "", 'throw new Error("a reason")') },
      { bad: { on_error: "disable" } },
    )
    await waitFor("the plugin to be off", async () => (await infoOf(gateway)).state === "inactive")
    expect((await postChat(gateway.url, { model: "good" })).status).toBe(200)
  })

  async function infoOf(gateway: RunningGateway, name = "bad") {
    const response = await fetch(`${gateway.adminUrl}/plugins/${name}`)
    return (await response.json()) as { state: string; metrics: { errors: number } }
  }

  async function countedErrors(gateway: RunningGateway, name: string): Promise<number> {
    return (await infoOf(gateway, name)).metrics.errors
  }
})

describe("requests for embeddings", () => {
  test("pass the transforms that know them, by priority", async () => {
    const embedder = (
      name: string,
      priority: number,
      formats: string,
    ) => `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "transform",
  setup: () => ({
    priority: ${priority},
    supportsFormat: (format) => ${formats}.includes(format),
    transformEmbeddingRequest: (request) => ({ ...request, input: request.input + " ${name}" }),
  }),
})`
    upstream.script("vectors", ({ write }) => write(json(200, JSON.stringify(embeddings("vectors", [1, 0])))))
    await using gateway = await gatewayWith(
      {
        "first.ts": embedder("first", 90, '["openai-embeddings"]'),
        "second.ts": embedder("second", 10, '["openai-chat", "openai-embeddings"]'),
        "chat-only.ts": embedder("chat-only", 50, '["openai-chat"]'),
      },
      { "pii-redactor": {} },
    )
    const response = await postEmbeddings(gateway.url, { model: "vectors", input: "joe@example.com" })
    expect(response.status).toBe(200)
    expect(JSON.parse(upstream.requests("vectors").at(-1)?.body ?? "")).toMatchObject({
      input: "[email] first second",
    })
  })
})

describe("pii-redactor", () => {
  const TEXT =
    "Card 4111 1111 1111 1111, IBAN DE89 3704 0044 0532 0130 00, mail joe.doe@mail.example.co.uk, bye."
  const REDACTED = "Card [credit_card], IBAN [iban], mail [email], bye."
  let gateway: RunningGateway

  beforeAll(async () => {
    gateway = await startGateway({
      config: {
        providers: [{ name: "up", base_url: upstream.url, models: ["pii", "tools", "cut"] }],
        plugins: { configs: { "pii-redactor": {} } },
      },
    })
  })

  afterAll(() => gateway?.stop())

  test("takes personal data out of what the provider sees", async () => {
    upstream.script("pii", answers(["ok"]))
    await postChat(gateway.url, {
      model: "pii",
      messages: [
        { role: "user", content: TEXT },
        { role: "user", content: [{ type: "text", text: TEXT }] },
      ],
    })
    expect(JSON.parse(upstream.requests("pii").at(-1)?.body ?? "").messages).toEqual([
      { role: "user", content: REDACTED },
      { role: "user", content: [{ type: "text", text: REDACTED }] },
    ])
  })

  test("takes it out of plain replies", async () => {
    upstream.script("pii", answers([TEXT]))
    const response = await postChat(gateway.url, { model: "pii" })
    expect(await response.json()).toEqual(completion("pii", REDACTED))
  })

  test("takes it out of streams, wherever they are cut", async () => {
    const cuts = [...[...TEXT].keys()].map((at) => [TEXT.slice(0, at), TEXT.slice(at)])
    for (const words of [[...TEXT], ...cuts]) {
      upstream.script("pii", answers(words))
      const stream = await readWholeStream(await postChat(gateway.url, { model: "pii", stream: true }))
      expect({ words, ...stream }).toMatchObject({ words, text: REDACTED, isDone: true, end: "clean" })
    }
  })

  test("loses no text beside tool calls and over several choices", async () => {
    const base = textChunk("tools", "")
    const choice = (index: number, delta: object, finish: string | null = null) => ({
      ...base,
      choices: [{ index, delta, finish_reason: finish }],
    })
    const call = { index: 0, id: "call-1", type: "function", function: { name: "f", arguments: '{"a":1}' } }
    upstream.script("tools", async ({ write }) => {
      const chunks = [
        choice(0, { role: "assistant", content: "mail joe@exam" }),
        choice(1, { role: "assistant", content: "card 4111 1111" }),
        choice(0, { content: "ple.com" }),
        choice(0, { tool_calls: [call] }),
        choice(1, { content: " 1111 1111" }, "stop"),
        choice(0, {}, "tool_calls"),
      ]
      await write(
        streamHead() + [...chunks.map(sseEvent), "data: [DONE]\n\n"].map(chunked).join("") + LAST_CHUNK,
      )
    })
    const { chunks, isDone } = await readWholeStream(
      await postChat(gateway.url, { model: "tools", stream: true }),
    )
    const choices = chunks.flatMap((chunk) => chunk.choices)
    const textOf = (index: number) =>
      choices.map((each) => (each.index === index ? (each.delta.content ?? "") : "")).join("")
    expect([textOf(0), textOf(1), isDone]).toEqual(["mail [email]", "card [credit_card]", true])
    expect(choices.flatMap(({ delta }) => delta.tool_calls ?? [])).toEqual([call])
    expect(choices.map(({ finish_reason: reason }) => reason).filter(Boolean)).toEqual(["stop", "tool_calls"])
  })

  test("sends what it held back, redacted, when the stream breaks", async () => {
    upstream.script("cut", async ({ write, finish }) => {
      const events = streamedAnswer("cut", ["mail joe@example.com"]).slice(0, 2)
      await write(streamHead() + events.map(chunked).join(""))
      // Not a reset: that may overtake what was sent.
      finish()
    })
    const stream = await readWholeStream(await postChat(gateway.url, { model: "cut", stream: true }))
    expect(stream).toMatchObject({ text: "mail [email]", isDone: false, end: "clean" })
    expect(stream.error).toMatchObject({ code: "upstream_connection_lost" })
  })

  test("writes no content into the log", () => {
    expect(gateway.logs()).not.toContain("4111")
    expect(gateway.logs()).not.toContain("joe")
  })
})

function gatewayWith(
  plugins: Readonly<Record<string, string>>,
  configs: Readonly<Record<string, unknown>> = {},
): Promise<RunningGateway> {
  return startGateway({
    config: {
      providers: [{ name: "up", base_url: upstream.url, models: ["good", "other", "vectors"] }],
      plugins: { configs },
    },
    plugins,
  })
}

/** The user's message in the last request for a model. */
function promptSent(model = "good"): string {
  const { messages } = JSON.parse(upstream.requests(model).at(-1)?.body ?? "") as {
    messages: { content: string }[]
  }
  return messages.at(-1)?.content ?? ""
}

/** Does what the prompt says; with "trace" it adds its name to all that passes. */
function tracer(name: string, priority: number): string {
  return `import { definePlugin, GatewayError } from "leapgate/plugin"
const promptOf = (request) => request.messages.at(-1).content
const withContent = (part, content) => ({ ...part, content })
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "transform",
  setup: () => ({
    priority: ${priority},
    supportsFormat: (format) => format === "openai-chat",
    transformRequest(request, { values }) {
      const prompt = promptOf(request)
      values.set("prompt", prompt.split(" ")[0] === "trace" ? "trace" : prompt)
      if (prompt === "values") values.set("seen", [...(values.get("seen") ?? []), "${name}"])
      if (prompt === "reject the request") throw new GatewayError("request_rejected", "no", { status: 451 })
      if (prompt === "flip") return { ...request, model: "other", stream: !request.stream }
      if (prompt === "mutate") {
        try { request.messages[0].content = "mutated" } catch { values.set("frozen", "frozen") }
        return
      }
      if (!prompt.startsWith("trace")) return
      return { ...request, messages: [withContent(request.messages[0], prompt + " ${name}")] }
    },
    transformResponse(response, { values }) {
      const [choice] = response.choices
      const say = (content) => ({ ...response, choices: [{ ...choice, message: withContent(choice.message, content) }] })
      switch (values.get("prompt")) {
        case "values": return say("seen by " + values.get("seen").join(" and ") + " as well")
        case "reject the reply": throw new GatewayError("request_rejected", "no", { status: 452 })
        case "mutate":
          if ("${name}" === "outer") return
          try { choice.message.content = "mutated" } catch { return say(values.get("frozen") + " frozen") }
          return
        case "trace": return say(choice.message.content + " ${name}")
      }
    },
    transformChunk(chunk, { values }) {
      const [choice] = chunk.choices
      const text = choice?.delta.content
      if (!text) return
      const say = (content) => ({ ...chunk, choices: [{ ...choice, delta: withContent(choice.delta, content) }] })
      switch (values.get("prompt")) {
        case "values": return say("seen by " + values.get("seen").join(" and ") + " as well")
        case "drop two":
          if ("${name}" === "outer" && text.startsWith("two")) throw new Error("it was dropped")
          return text.startsWith("two") ? null : undefined
        case "stop at three":
          if (text.startsWith("three")) throw new GatewayError("request_rejected", "three is too much")
          return
        case "trace": return say(text + " ${name}")
      }
    },
  }),
})`
}

const HOOKED = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "hooked", version: "1.0.0", type: "middleware",
  setup: () => ({
    hooks: {
      onRequest({ request, headers }) {
        const prompt = request.messages.at(-1).content
        const model = headers.get("x-model") ?? undefined
        if (prompt !== "trace") return { metadata: { prompt } }
        const messages = [{ ...request.messages[0], content: prompt + " hook" }]
        return { request: { ...request, messages }, ...(model && { model }), metadata: { prompt } }
      },
      onChunk({ chunk, metadata }) {
        const [choice] = chunk.choices
        if (metadata.prompt !== "trace" || !choice?.delta.content) return
        const content = choice.delta.content + " chunk "
        return { ...chunk, choices: [{ ...choice, delta: { ...choice.delta, content } }] }
      },
      onText({ text, isFinal, metadata }) {
        if (metadata.prompt === "trace" && isFinal) return text.trimEnd() + " text"
      },
    },
  }),
})`

const DEAF = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "deaf", version: "1.0.0", type: "transform",
  setup({ log }) {
    const called = () => log.info("the deaf one was called")
    return {
      supportsFormat: () => false,
      transformRequest: called, transformResponse: called, transformChunk: called,
    }
  },
})`

/** Does what the prompt says, where it begins with the plugin's name: in which step, and what. */
function rascal(name: string): string {
  return `import { definePlugin } from "leapgate/plugin"
function act(step, prompt) {
  if (!prompt?.startsWith("${name} " + step + " ")) return
  if (prompt.endsWith("throws")) throw new Error("a secret")
  return prompt.endsWith("never settles") ? new Promise(() => {}) : "rubbish"
}
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "transform",
  setup: () => ({
    supportsFormat: () => true,
    transformRequest(request, { values }) {
      values.set("prompt", request.messages.at(-1).content)
      return act("transformRequest", values.get("prompt"))
    },
    transformResponse: (_, { values }) => act("transformResponse", values.get("prompt")),
    // One chunk is enough.
    transformChunk: (chunk, { values }) =>
      chunk.choices[0]?.delta.content === "two " ? act("transformChunk", values.get("prompt")) : undefined,
  }),
})`
}

function failing(step: string, body: string, supports = "return true"): string {
  return `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "bad", version: "1.0.0", type: "transform",
  setup: () => ({
    supportsFormat() { ${supports} },
    ${step}(request) { ${body} },
  }),
})`
}
