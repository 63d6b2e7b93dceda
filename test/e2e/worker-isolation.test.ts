/** The same plugin files in both modes: over the same requests they give the same replies, headers and events. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { residentBytes } from "../support/process.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

type Isolation = "inline" | "worker"
const MODES: readonly Isolation[] = ["inline", "worker"]

let upstream: HostileUpstream
const gateways = new Map<Isolation, RunningGateway>()

beforeAll(async () => {
  upstream = startHostileUpstream()
  for (const model of ["good", "better"]) upstream.script(model, answers([`${model} `, "and ", "whole"]))
  for (const isolation of MODES) gateways.set(isolation, await start(isolation))
}, 20_000)

afterAll(async () => {
  for (const gateway of gateways.values()) await gateway.stop()
  upstream?.stop()
})

function start(isolation: Isolation): Promise<RunningGateway> {
  const provider = { base_url: upstream.url, models: ["good"] }
  return startGateway({
    config: {
      providers: [
        { name: "up", ...provider },
        { name: "other", base_url: upstream.url, models: ["better"] },
      ],
      plugins: {
        configs: {
          "rate-limiter": { isolation, config: { max_requests: 12, window: "1h" } },
          "model-router": {
            isolation,
            config: { rules: [{ when: { header: { name: "x-tier", equals: "gold" } }, to: "other/better" }] },
          },
          everything: { isolation, config: { greeting: "hello", pause: "3s" } },
        },
      },
    },
    plugins: { "everything.ts": EVERYTHING },
  })
}

interface Asked {
  readonly model: string
  readonly stream?: boolean
  readonly prompt?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** In this order: later ones see the state that earlier ones left. */
const REQUESTS: readonly (readonly [string, Asked])[] = [
  ["a plain reply", { model: "good" }],
  ["a stream", { model: "good", stream: true }],
  ["a request that is routed elsewhere", { model: "good", headers: { "x-tier": "gold" } }],
  ["a request that a middleware answers", { model: "good", headers: { "x-deed": "answer" } }],
  ["a request that a middleware rejects", { model: "good", headers: { "x-deed": "reject" } }],
  ["a request that a hook rejects", { model: "good", prompt: "forbidden" }],
  ["a request that a hook changes", { model: "good", prompt: "change me" }],
  ["a middleware that fails", { model: "good", headers: { "x-deed": "fail" } }],
  ["a model that nobody serves", { model: "nowhere" }],
  ["a reply that is replaced on the way out", { model: "good", headers: { "x-deed": "replace" } }],
  ["a stream that is wrapped on the way out", { model: "good", stream: true, headers: { "x-deed": "wrap" } }],
  ["an event that a plugin tries to change", { model: "good", prompt: "mutate" }],
  ["one request too many", { model: "good" }],
  ["one stream too many", { model: "good", stream: true }],
]

describe("in a worker and in the gateway", () => {
  test.each(REQUESTS)("%s comes out the same", async (_, asked) => {
    const [inline, worker] = [await exchange("inline", asked), await exchange("worker", asked)]
    expect(worker).toEqual(inline)
    if (asked.stream === true && inline.status < 300) expect(inline.body).toEndWith("data: [DONE]\n\n")
    expect(inline.status).toBeGreaterThanOrEqual(200)
  })

  test("the plugin was told the same, in the same order", async () => {
    const counts = (isolation: Isolation) => JSON.stringify(countsOf(told(isolation)))
    await waitFor("the last of them to be told", () => {
      const ends = told("inline").filter(({ hook }) => hook === "onStreamEnd")
      return ends.length === 2 && counts("worker") === counts("inline")
    })
    const [inline, worker] = [told("inline"), told("worker")]
    const names = new Set(inline.map(({ hook }) => hook))
    expect([...names].sort()).toEqual(
      [
        "afterHandle",
        "beforeHandle",
        "middlewareOnError",
        "onCacheEvent",
        "onChunk",
        "onError",
        "onMetric",
        "onPluginLoad",
        "onRequest",
        "onResponse",
        "onStreamEnd",
        "onText",
        "setup",
      ].sort(),
    )
    // Observers are told beside the request, so that those of different hooks may overtake each other.
    for (const name of names) {
      const of = (lines: readonly Line[]) => lines.filter(({ hook }) => hook === name)
      expect(of(worker)).toEqual(of(inline))
    }
  })

  test("a plugin in a worker says that it is in one", async () => {
    for (const isolation of MODES) {
      const gateway = gatewayOf(isolation)
      expect(gateway.logs()).toContain(`"thread":"${isolation === "worker" ? "worker" : "main"}"`)
    }
  })
})

test("a worker that is ended gives its memory back, and the gateway never stops answering", async () => {
  await using gateway = await startGateway({
    config: {
      providers: [{ name: "up", base_url: upstream.url, models: ["good"] }],
      plugins: { configs: { hog: { isolation: "worker", worker_memory: "200MB" } } },
    },
    plugins: { "hog.ts": HOG },
  })
  const resident = () => residentBytes(gateway.servingPid()) / 1e6
  await (await postChat(gateway.url, { model: "good" })).text()
  const before = resident()
  let peak = before
  const sampler = setInterval(() => {
    peak = Math.max(peak, resident())
  }, 5)
  await (await postChat(gateway.url, { model: "good", headers: { "x-hog": "now" } })).text()
  await waitFor("the worker to be ended", () => gateway.logs().includes("more than worker_memory"), 10_000)
  clearInterval(sampler)
  await waitFor("the memory to be given back", () => resident() < before + 60, 10_000)
  expect(peak).toBeGreaterThan(before + 100)
  expect((await postChat(gateway.url, { model: "good" })).status).toBe(200)
}, 30_000)

interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

async function exchange(isolation: Isolation, { headers, ...asked }: Asked): Promise<Reply> {
  const gateway = gatewayOf(isolation)
  const response = await postChat(gateway.url, { ...asked, headers: { "x-request-id": "same", ...headers } })
  const body = await response.text()
  return { status: response.status, headers: comparable(response.headers), body: sameEverywhere(body) }
}

/** Without what depends on the moment. */
function comparable(headers: Headers): Record<string, string> {
  return Object.fromEntries(
    [...headers].map(([name, value]) => [name, VOLATILE.test(name) ? "volatile" : value]),
  )
}

const VOLATILE = /^(date|x-ratelimit-reset|retry-after|retry-after-ms)$/

function sameEverywhere(text: string): string {
  return text
    .replace(/"(created|reset|retry_after)":\s*\d+/g, '"$1":0')
    .replace(/"id":\s*"[^"]*"/g, '"id":"x"')
    .replace(/try again in \d+ s/g, "try again")
}

interface Line {
  readonly hook: string
  readonly said: unknown
}

function told(isolation: Isolation): readonly Line[] {
  return gatewayOf(isolation)
    .logs()
    .split("\n")
    .filter((line) => line.includes('"message":"told"'))
    .map((line) => {
      const { hook, said } = JSON.parse(line)
      return { hook, said: JSON.parse(sameEverywhere(JSON.stringify(said))) }
    })
}

function countsOf(lines: readonly Line[]): readonly string[] {
  const hooks = [...new Set(lines.map(({ hook }) => hook))].sort()
  return hooks.map((hook) => `${hook} ${lines.filter((line) => line.hook === hook).length}`)
}

function gatewayOf(isolation: Isolation): RunningGateway {
  const gateway = gateways.get(isolation)
  if (gateway === undefined) throw new Error("it was not started")
  return gateway
}

/** Uses every hook and ability of a middleware, and tells in the log what each of them saw. */
const EVERYTHING = `import { definePlugin, GatewayError, Type } from "leapgate/plugin"

const plainEvent = (event) => {
  const { request, response, headers, error, startTime, timestamp, durationMs, firstTokenMs, generation, traceId, value, ...rest } = event
  return {
    ...rest,
    traceLength: traceId?.length,
    times: [startTime, durationMs, timestamp].map((time) => typeof time),
    request: request && { ...request, frozen: Object.isFrozen(request.messages) },
    response: response?.choices,
    header: headers?.get("x-request-id"),
    error: error && { is: error instanceof GatewayError, code: error.code, message: error.message, status: error.status },
  }
}

export default definePlugin({
  name: "everything",
  version: "1.2.3",
  type: "middleware",
  config: Type.Object({ greeting: Type.String(), pause: Type.Duration() }),
  async setup({ name, version, config, log, state, emit, signal }) {
    const tell = (hook, said) => log.info("told", { hook, said })
    const stored = await state.increment("set-ups", { by: 2 })
    tell("setup", { name, version, config, frozen: Object.isFrozen(config), aborted: signal.aborted, stored: stored.value })
    log.info("where", { thread: Bun.isMainThread ? "main" : "worker" })
    return {
      priority: 60,
      routes: ["/v1/*"],
      async beforeHandle(context) {
        const { path, method, clientIp, principal, headers, values, requestId, traceId, signal } = context
        tell("beforeHandle", { path, method, clientIp, principal, requestId, trace: traceId.length, aborted: signal.aborted })
        const count = await state.increment("count")
        context.setHeader("x-everything", config.greeting + count.value)
        values.set("deed", headers.get("x-deed"))
        headers.set("x-by-everything", "yes")
        switch (headers.get("x-deed")) {
          case "answer": return new Response("an answer", { status: 203, headers: { "x-own": "1" } })
          case "reject": throw new GatewayError("request_rejected", "not today", { status: 422, retryAfterMs: 5, param: "p", details: { why: "x" } })
          case "fail": throw new TypeError("no luck")
        }
      },
      async afterHandle(context, response) {
        const deed = context.values.get("deed")
        const type = response.headers.get("content-type")
        tell("afterHandle", { status: response.status, type, seen: context.headers.get("x-by-everything") })
        response.headers.set("x-after", "1")
        if (deed === "replace") return Response.json({ was: (await response.json()).choices[0].message.content }, { status: 202 })
        if (deed === "wrap") return new Response(response.body, { status: 201, headers: [...response.headers, ["x-wrapped", "1"]] })
      },
      onError(context, error) {
        tell("middlewareOnError", { code: error.code, status: error.status, is: error instanceof GatewayError, deed: context.values.get("deed") })
        if (error.code === "model_not_found") return Response.json({ sorry: error.message }, { status: 404 })
      },
      hooks: {
        onRequest(event, { signal }) {
          tell("onRequest", { ...plainEvent(event), aborted: signal.aborted })
          const text = event.request.messages[0].content
          if (text === "forbidden") throw new GatewayError("forbidden", "not that")
          if (text === "mutate") {
            try { event.request.messages[0].content = "changed" } catch (error) { return { metadata: { mutation: error.constructor.name } } }
          }
          if (text === "change me") return { request: { ...event.request, temperature: 0.5 }, metadata: { changed: [1] } }
          emit.metric({ name: "asked", value: 1, type: "counter" })
          emit.cacheEvent({ eventType: "miss", key: "k" })
        },
        onChunk(event) { tell("onChunk", plainEvent(event)); return { ...event.chunk, system_fingerprint: "seen" } },
        onText(event) { tell("onText", plainEvent(event)); return event.text.replace("whole", "entire") },
        onStreamEnd: (event) => tell("onStreamEnd", plainEvent(event)),
        onResponse: (event) => tell("onResponse", plainEvent(event)),
        onError: (event) => tell("onError", plainEvent(event)),
        onProviderSwitch: (event) => tell("onProviderSwitch", plainEvent(event)),
        onPluginLoad: (event) => { if (event.plugin === "everything") tell("onPluginLoad", plainEvent(event)) },
        onCacheEvent: (event) => tell("onCacheEvent", plainEvent(event)),
        onMetric: (event) => tell("onMetric", plainEvent(event)),
      },
    }
  },
})`

/** Grows by some megabytes at a time, up to about 300. */
const HOG = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "hog", version: "1.0.0", type: "middleware",
  setup: () => ({
    beforeHandle({ headers }) {
      if (!headers.has("x-hog")) return
      const all = globalThis.all = []
      const timer = setInterval(() => {
        all.push(new Array(500_000).fill(0).map((_, index) => index + 0.5))
        if (all.length >= 75) clearInterval(timer)
      }, 10)
    },
  }),
})`
