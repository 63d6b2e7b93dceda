/** Plugins that run in a worker: the same files, loaded by the real registry. */
import { afterAll, describe, expect, test } from "bun:test"
import { GatewayError } from "../../src/errors.ts"
import type {
  AuthAbilities,
  CacheAbilities,
  HookContext,
  MiddlewareContext,
  MonitoringAbilities,
  RequestEvent,
  RouteRequest,
  TransformAbilities,
  TransformContext,
} from "../../src/plugin/contract.ts"
import type { PluginInstance, PluginSettings } from "../../src/plugin/instance.ts"
import { CallContext } from "../../src/plugin/point.ts"
import { waitFor } from "../support/wait.ts"
import { failureOf, Harness, pluginText } from "./fixtures.ts"

const harnesses: Harness[] = []

afterAll(async () => {
  await Promise.all(harnesses.map((harness) => harness.registry.shutdownAll()))
})

interface Options extends Partial<PluginSettings> {
  readonly setupTimeoutMs?: number
}

/** The plugin "subject", set up in a worker. */
async function inWorker(source: string, { setupTimeoutMs, ...settings }: Options = {}) {
  const harness = new Harness({ ...(setupTimeoutMs !== undefined && { setupTimeoutMs }) })
  harnesses.push(harness)
  harness.entries.subject = { isolation: "worker", ...settings }
  harness.write("subject.ts", source)
  await harness.registry.loadAll()
  return harness
}

const subject = (text: Omit<Parameters<typeof pluginText>[0], "name">) =>
  pluginText({ name: "subject", type: "middleware", ...text })

function instanceOf(harness: Harness): PluginInstance {
  const instance = harness.registry.get("subject")
  if (instance === undefined) throw new Error(`it is not active: ${harness.errorOf("subject")}`)
  return instance
}

const abilitiesOf = <T>(harness: Harness): T => instanceOf(harness).abilities as T

interface Exchange {
  readonly context: MiddlewareContext
  readonly replyHeaders: [string, string][]
}

function exchange(fields: Partial<MiddlewareContext> = {}): Exchange {
  const replyHeaders: [string, string][] = []
  const context: MiddlewareContext = {
    requestId: "request-1",
    get traceId() {
      return "trace-1"
    },
    generation: 1,
    method: "POST",
    path: "/v1/x",
    headers: new Headers({ "x-sent": "yes" }),
    clientIp: "127.0.0.1",
    principal: { name: "anonymous", via: "anonymous", roles: [], permissions: [], metadata: {} },
    signal: new AbortController().signal,
    setHeader: (name, value) => void replyHeaders.push([name, value]),
    values: new Map(),
    ...fields,
  }
  return { context, replyHeaders }
}

function point(harness: Harness, name: "beforeHandle" | "afterHandle" | "onError" = "beforeHandle") {
  const [bound] = harness.registry.current.middlewaresFor("/v1/x")
  const found = bound?.[name]
  if (found === undefined) throw new Error(`there is no ${name}: ${harness.errorOf("subject")}`)
  return found as unknown as { call(...args: unknown[]): Promise<unknown> }
}

const THREAD = `const where = Bun.isMainThread ? "the gateway" : "a worker"`

describe("setting up", () => {
  test("happens in the worker and nowhere else, with config, state, log and events", async () => {
    const harness = await inWorker(
      subject({
        top: THREAD,
        more: 'config: Type.Object({ wait: Type.Duration({ default: "2s" }) }),',
        setup: `
          await state.set("kept", { deep: [1] })
          log.info("set up", { where, wait: config.wait, directory, kept: await state.get("kept"), gone: await state.delete("nothing") })
          emit.cacheEvent({ eventType: "hit", key: "k" })
          say("count", (await state.increment("counter", { by: 3, ttlMs: 60_000 })).value)`,
        abilities: "beforeHandle() {}",
      }),
    )
    expect(harness.said).toEqual(["count 3", "subject up 1"])
    expect(harness.cacheEvents).toEqual([
      { plugin: "subject", eventType: "hit", key: "k", timestamp: expect.any(Number) },
    ])
    expect(harness.log.filter(({ message }) => message === "set up")).toEqual([
      expect.objectContaining({
        level: "info",
        plugin: "subject",
        where: "a worker",
        wait: 2000,
        directory: harness.directory,
        kept: { deep: [1] },
        gone: false,
      }),
    ])
  })

  test("its priority and routes are those that it returned", async () => {
    const harness = await inWorker(
      subject({ abilities: 'priority: 71, routes: ["/v1/x"], beforeHandle() {}' }),
    )
    expect(instanceOf(harness).priority).toBe(71)
    expect(harness.registry.current.middlewaresFor("/v1/y")).toEqual([])
    expect(harness.registry.current.middlewaresFor("/v1/x")).toHaveLength(1)
  })

  test("a setup that throws is told with its place in the source", async () => {
    const harness = await inWorker(subject({ setup: 'if (!Bun.isMainThread) throw new Error("no luck")' }))
    expect(harness.registry.getInfo("subject")).toMatchObject({
      state: "error",
      error: { code: "plugin_setup_failed", message: expect.stringContaining("no luck") },
    })
    expect(harness.errorOf("subject")).toMatch(/subject\.ts:\d+:\d+/)
  })

  test("what setup may not return is told like that of an inline plugin", async () => {
    const harness = await inWorker(subject({ abilities: "beforeHandle: 5" }))
    expect(harness.registry.getInfo("subject").error).toMatchObject({
      code: "plugin_invalid",
      message: expect.stringContaining("beforeHandle: must be a function, got 5"),
    })
  })

  test("a config that does not fit is refused before a worker is started", async () => {
    const harness = await inWorker(subject({ abilities: "beforeHandle() {}" }), { config: { typo: 1 } })
    expect(harness.registry.getInfo("subject").error).toMatchObject({ code: "plugin_config_invalid" })
  })

  test("a setup that loops for ever is cut at its deadline", async () => {
    const harness = await inWorker(subject({ setup: "while (!Bun.isMainThread);" }), { setupTimeoutMs: 300 })
    expect(harness.registry.getInfo("subject").error).toMatchObject({ code: "plugin_setup_failed" })
    expect(harness.errorOf("subject")).toContain("did not finish within 300 ms")
  })

  test("a setup that ends its process is an error of the plugin", async () => {
    const harness = await inWorker(subject({ setup: "process.exit(7)" }))
    expect(harness.errorOf("subject")).toContain("exit code 7")
  })

  test("a provider is refused, and is told what a worker can do", async () => {
    const harness = await inWorker(subject({ type: "provider", abilities: "models: [], chat() {}" }))
    expect(harness.registry.getInfo("subject").error).toMatchObject({
      code: "plugin_unsupported",
      message: expect.stringContaining(
        "middleware, router, cache, auth, monitoring and transform plugins can",
      ),
    })
  })

  test("a plugin with requests of its own is refused", async () => {
    const harness = await inWorker(
      subject({ abilities: "beforeHandle() {}, fetch: () => new Response('x')" }),
    )
    expect(harness.registry.getInfo("subject").error).toMatchObject({
      code: "plugin_unsupported",
      message: expect.stringContaining("fetch"),
    })
  })
})

describe("a middleware", () => {
  test("sees the request, and what it does to headers and values is done in the gateway", async () => {
    const harness = await inWorker(
      subject({
        abilities: `beforeHandle(context) {
          const { traceId, path, clientIp, principal, headers, values } = context
          context.setHeader("x-seen", [traceId, path, clientIp, principal.name, headers.get("x-sent"), values.get("before")].join())
          headers.set("x-added", "1")
          headers.delete("x-sent")
          values.set("after", { by: "subject" })
          values.delete("before")
        }`,
      }),
    )
    const { context, replyHeaders } = exchange({ values: new Map([["before", "hand"]]) })
    expect(await point(harness).call(context)).toBeUndefined()
    expect(replyHeaders).toEqual([["x-seen", "trace-1,/v1/x,127.0.0.1,anonymous,yes,hand"]])
    expect([...context.headers]).toEqual([["x-added", "1"]])
    expect([...context.values]).toEqual([["after", { by: "subject" }]])
  })

  test("does not see values that cannot be sent, and they stay", async () => {
    const harness = await inWorker(
      subject({ abilities: "beforeHandle: ({ values }) => void values.set('keys', [...values.keys()])" }),
    )
    const { context } = exchange({
      values: new Map<string, unknown>([
        ["fn", () => 1],
        ["n", 1],
      ]),
    })
    await point(harness).call(context)
    expect(context.values.get("keys")).toEqual(["n"])
    expect(context.values.get("fn")).toBeFunction()
  })

  test("answers with a Response, its status, headers and bytes", async () => {
    const harness = await inWorker(
      subject({
        abilities: `beforeHandle: () => new Response(new Uint8Array([0, 255, 1]), { status: 418, headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"]] })`,
      }),
    )
    const reply = (await point(harness).call(exchange().context)) as Response
    expect(reply.status).toBe(418)
    expect(reply.headers.getSetCookie()).toEqual(["a=1", "b=2"])
    expect([...new Uint8Array(await reply.arrayBuffer())]).toEqual([0, 255, 1])
  })

  test("rejects with a GatewayError, with all of its fields", async () => {
    const harness = await inWorker(
      subject({
        abilities: `beforeHandle() { throw new GatewayError("rate_limit_exceeded", "slow down", { retryAfterMs: 1500, param: "p", headers: { "x-h": "1" }, details: { limit: 1 }, status: 430, cause: new TypeError("why") }) }`,
      }),
    )
    const thrown = await failureOf(() => point(harness).call(exchange().context))
    expect(thrown).toBeInstanceOf(GatewayError)
    expect(thrown).toMatchObject({
      code: "rate_limit_exceeded",
      message: "slow down",
      status: 430,
      kind: "rate_limit",
      retryAfterMs: 1500,
      param: "p",
      headers: { "x-h": "1" },
      details: { limit: 1 },
      cause: { name: "TypeError", message: "why" },
    })
    expect(harness.registry.getInfo("subject").metrics.errors).toBe(0)
  })

  test("that throws anything else is a failure with its message and its place", async () => {
    const harness = await inWorker(
      subject({ abilities: "beforeHandle() { throw new RangeError('no luck') }" }),
    )
    expect(await point(harness).call(exchange().context)).toBeUndefined()
    expect(harness.registry.getInfo("subject").metrics.last_error?.message).toBe("beforeHandle: no luck")
    const line = harness.log.find(({ message }) => message === "a plugin failed")
    expect(JSON.stringify(line)).toMatch(/RangeError.*subject\.ts/)
  })

  test("that returns what cannot be sent is a failure that says so", async () => {
    const harness = await inWorker(subject({ abilities: "beforeHandle: () => ({ call() {} })" }))
    expect(await point(harness).call(exchange().context)).toBeUndefined()
    expect(harness.registry.getInfo("subject").metrics.last_error?.message).toContain("no plain data")
  })

  test("sees the body of a plain reply, may change its headers, and leaves it readable", async () => {
    const harness = await inWorker(
      subject({
        abilities: `async afterHandle(context, response) {
          context.setHeader("x-body", await response.text())
          response.headers.set("x-changed", "1")
          return context.headers.has("x-same") ? response : undefined
        }`,
      }),
    )
    for (const headers of [new Headers(), new Headers({ "x-same": "1" })]) {
      const { context, replyHeaders } = exchange({ headers })
      const reply = new Response("hello", { headers: { "content-type": "text/plain" } })
      const returned = await point(harness, "afterHandle").call(context, reply)
      expect(returned).toBe(headers.has("x-same") ? reply : undefined)
      expect(replyHeaders).toEqual([["x-body", "hello"]])
      expect(reply.headers.get("x-changed")).toBe("1")
      expect(await reply.text()).toBe("hello")
    }
  })

  test("sees no body of a stream, which a new Response around it keeps", async () => {
    const harness = await inWorker(
      subject({
        abilities: `afterHandle(context, response) {
          return new Response(response.body, { status: 202, headers: { ...Object.fromEntries(response.headers), "x-wrapped": "1" } })
        }`,
      }),
    )
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("data: 1\n\n"))
        controller.close()
      },
    })
    const reply = new Response(stream, { headers: { "content-type": "text/event-stream" } })
    const returned = (await point(harness, "afterHandle").call(exchange().context, reply)) as Response
    expect([returned.status, returned.headers.get("x-wrapped")]).toEqual([202, "1"])
    expect(await returned.text()).toBe("data: 1\n\n")
  })

  test("sees the error of a request", async () => {
    const harness = await inWorker(
      subject({
        abilities: `onError: (context, error) => new Response([error instanceof GatewayError, error.code, error.status, error.message].join())`,
      }),
    )
    const error = new GatewayError("forbidden", "not you")
    const reply = (await point(harness, "onError").call(exchange().context, error)) as Response
    expect(await reply.text()).toBe("true,forbidden,403,not you")
  })

  test("hears that the client has left", async () => {
    const harness = await inWorker(
      subject({
        abilities: `beforeHandle: ({ signal }) => new Promise((resolve) => {
          signal.addEventListener("abort", () => resolve(new Response(signal.reason.message)))
          say("waiting")
        })`,
      }),
    )
    const client = new AbortController()
    const pending = point(harness).call(exchange({ signal: client.signal }).context)
    await harness.heard("waiting 0")
    client.abort(new Error("gone"))
    expect(await ((await pending) as Response).text()).toBe("gone")
  })

  test("knows a signal that was aborted before", async () => {
    const harness = await inWorker(
      subject({ abilities: `beforeHandle: ({ signal }) => new Response(String(signal.aborted))` }),
    )
    const reply = await point(harness).call(exchange({ signal: AbortSignal.abort() }).context)
    expect(await (reply as Response).text()).toBe("true")
  })
})

describe("hooks and the other types", () => {
  test("an event has its request, which is frozen as it is in the gateway", async () => {
    const harness = await inWorker(
      subject({
        abilities: `hooks: { onRequest(event, { signal }) {
          let frozen = "no"
          try { event.request.messages[0].content = "changed" } catch { frozen = "yes" }
          return { model: event.request.messages[0].content, metadata: { frozen, aborted: signal.aborted, header: event.headers.get("x-sent") } }
        } }`,
      }),
    )
    const [hook] = harness.registry.current.hooks.onRequest
    const request = Object.freeze({
      model: "m",
      messages: Object.freeze([Object.freeze({ role: "user", content: "hello" })]),
    })
    const event = {
      headers: new Headers({ "x-sent": "1" }),
      get request() {
        return request
      },
    } as unknown as RequestEvent
    expect(await hook?.call(event, new CallContext())).toEqual({
      model: "hello",
      metadata: { frozen: "yes", aborted: false, header: "1" },
    })
  })

  test("a field that cannot be read throws for the plugin that reads it, and for no other", async () => {
    const harness = await inWorker(
      subject({
        abilities: `hooks: { onRequest(event) { return event.model === "look" ? { model: event.request.model } : undefined } }`,
      }),
    )
    const [hook] = harness.registry.current.hooks.onRequest
    const eventFor = (model: string) =>
      ({
        model,
        get request() {
          throw new GatewayError("upstream_invalid_reply", "malformed")
        },
      }) as unknown as RequestEvent
    expect(await hook?.call(eventFor("away"), new CallContext())).toBeUndefined()
    expect(await failureOf(() => hook?.call(eventFor("look"), new CallContext()))).toMatchObject({
      code: "upstream_invalid_reply",
    })
  })

  test("a router chooses", async () => {
    const harness = await inWorker(
      subject({
        type: "router",
        abilities: `routeRequest: ({ headers, messages }) => headers.has("x-route") && messages.length === 1,
          selectProvider: (request, available) => available.at(-1)?.name + "/" + request.model`,
      }),
    )
    const [router] = harness.registry.current.routers
    const request = {
      model: "m",
      headers: new Headers({ "x-route": "1" }),
      get messages() {
        return [{ role: "user", content: "hi" }]
      },
      signal: new AbortController().signal,
    } as unknown as RouteRequest
    expect(await router?.routeRequest.call(request)).toBe(true)
    const available = [
      { name: "a", models: [] },
      { name: "b", models: [{ id: "m" }] },
    ]
    expect(await router?.selectProvider.call(request, available)).toBe("b/m")
  })

  test("a cache keeps bytes", async () => {
    const harness = await inWorker(
      subject({
        type: "cache",
        top: "const kept = new Map()",
        abilities: `distributed: false, get: (key) => kept.get(key), set: (key, value, { ttlMs }) => void kept.set(key, value),
          delete: (key) => kept.delete(key), clear: () => kept.clear(),
          stats: () => ({ hits: 0, misses: 0, sets: kept.size, deletes: 0, sizeBytes: 0, entries: kept.size, evictions: 0 })`,
      }),
    )
    const cache = abilitiesOf<CacheAbilities>(harness)
    expect(cache.distributed).toBe(false)
    await cache.set("k", new Uint8Array([1, 2]), { ttlMs: 5 })
    expect([...((await cache.get("k")) ?? [])]).toEqual([1, 2])
    expect(await cache.get("other")).toBeUndefined()
    expect(await cache.stats()).toMatchObject({ entries: 1 })
    expect(await cache.delete("k")).toBe(true)
  })

  test("an auth plugin says who asks", async () => {
    const harness = await inWorker(
      subject({
        type: "auth",
        abilities: `authenticate: (token, { signal }) => token === "good" && !signal.aborted ? { name: "u", via: "plugin", roles: [], permissions: ["p"], metadata: {} } : undefined,
          authorize: (principal, action, resource) => principal.name === "u" && resource === "m"`,
      }),
    )
    const auth = abilitiesOf<AuthAbilities>(harness)
    const context: HookContext = new CallContext()
    const principal = await auth.authenticate("good", context)
    expect(principal).toMatchObject({ name: "u", permissions: ["p"] })
    expect(await auth.authenticate("bad", context)).toBeUndefined()
    if (principal === undefined) throw new Error("there is no principal")
    expect(await auth.authorize?.(principal, "model.use", "m", context)).toBe(true)
    expect(await auth.authorize?.(principal, "model.use", "n", context)).toBe(false)
  })

  test("a monitoring plugin gets its batches, and exports text", async () => {
    const harness = await inWorker(
      subject({
        type: "monitoring",
        top: "let seen = []",
        abilities: "recordMetric(batch) { seen.push(...batch) }, export: () => JSON.stringify(seen)",
      }),
    )
    const monitoring = abilitiesOf<MonitoringAbilities>(harness)
    await monitoring.recordMetric?.([{ name: "m", value: 1, type: "counter", timestamp: 5 }])
    expect(await monitoring.export?.()).toBe('[{"name":"m","value":1,"type":"counter","timestamp":5}]')
  })

  test("a transform says at once which formats it supports, and shares values", async () => {
    const harness = await inWorker(
      subject({
        type: "transform",
        abilities: `supportsFormat: (format) => format === "openai-chat",
          transformRequest: (request, { values, model }) => { values.set("was", request.model); return { ...request, model: model + "!" } },
          transformChunk: () => null`,
      }),
    )
    const transform = abilitiesOf<TransformAbilities>(harness)
    expect([transform.supportsFormat("openai-chat"), transform.supportsFormat("other")]).toEqual([
      true,
      false,
    ])
    const context = { model: "m", values: new Map(), signal: new AbortController().signal }
    const request = Object.freeze({ model: "m", messages: [] })
    const changed = await transform.transformRequest?.(request, context as unknown as TransformContext)
    expect(changed).toEqual({ model: "m!", messages: [] })
    expect(context.values.get("was")).toBe("m")
    const dropped = transform.transformChunk?.({} as never, context as unknown as TransformContext)
    expect(await dropped).toBeNull()
    expect(transform.transformResponse).toBeUndefined()
  })

  test("a transform rewrites requests for embeddings, and is not asked about chat where it says no", async () => {
    const harness = await inWorker(
      subject({
        type: "transform",
        abilities: `supportsFormat: (format) => format === "openai-embeddings",
          transformRequest: () => { throw new Error("no chat of mine") },
          transformEmbeddingRequest: (request, { values }) => {
            values.set("frozen", Object.isFrozen(request))
            return { ...request, input: ["(" + request.input + ")"] }
          }`,
      }),
    )
    const { transforms } = harness.registry.current
    expect(transforms.request).toEqual([])
    const context = { model: "m", values: new Map(), signal: new AbortController().signal }
    const [transform] = transforms.embeddingRequest
    const request = Object.freeze({ model: "m", input: "words" })
    const changed = await transform?.call(request, context as unknown as TransformContext)
    expect(changed).toEqual({ model: "m", input: ["(words)"] })
    expect(context.values.get("frozen")).toBe(true)
  })
})

describe("a worker", () => {
  const DEEDS = `beforeHandle({ path, signal }) {
    if (path === "loop") for (;;);
    if (path === "exit") process.exit(3)
    if (path === "stack") return (function deeper() { return [deeper()] })()
    if (path === "hang") return new Promise((resolve) => signal.addEventListener("abort", () => log.info("aborted", { reason: signal.reason.code })))
    if (path === "hog") { const all = globalThis.all = []; const timer = setInterval(() => { for (let i = 0; i < 20; i++) all.push(new Array(100_000).fill(i)) ; if (all.length > 300) clearInterval(timer) }, 5); return }
    if (path === "late") { setTimeout(() => { throw new Error("too late") }, 1); void Promise.reject(new Error("left behind")); return }
    return new Response("fine")
  }`

  const ask = async (harness: Harness, path: string) => {
    const reply = await point(harness).call(exchange({ path }).context)
    return reply instanceof Response ? reply.text() : reply
  }
  const isBack = (harness: Harness) =>
    waitFor("the next worker", async () => (await ask(harness, "")) === "fine")
  const endings = (harness: Harness) =>
    harness.log.filter(({ message }) => message.startsWith("a plugin's worker ended"))

  test("that is stuck is ended after the deadline of the call, and replaced", async () => {
    const harness = await inWorker(subject({ abilities: DEEDS }), { timeoutMs: 100, onError: "closed" })
    const stuck = failureOf(() => ask(harness, "loop"))
    const beside = failureOf(() => ask(harness, "hang"))
    expect(await stuck).toMatchObject({ code: "plugin_timeout" })
    expect(await beside).toMatchObject({ code: "plugin_timeout" })
    await waitFor("the end of the worker", () => endings(harness).length === 1)
    expect(endings(harness)[0]).toMatchObject({ reason: expect.stringContaining("stuck"), delayMs: 100 })
    expect(await failureOf(() => ask(harness, ""))).toMatchObject({ code: "plugin_failed" })
    await waitFor("the next worker", async () => (await ask(harness, "").catch(() => "")) === "fine")
  })

  test("whose call never settles is left alive, and hears of the deadline", async () => {
    const harness = await inWorker(subject({ abilities: DEEDS }), { timeoutMs: 50 })
    expect(await ask(harness, "hang")).toBeUndefined()
    expect(await ask(harness, "")).toBe("fine")
    await waitFor("the abort", () => harness.log.some(({ message }) => message === "aborted"))
    expect(harness.log.find(({ message }) => message === "aborted")).toMatchObject({
      reason: "plugin_timeout",
    })
    expect(endings(harness)).toEqual([])
  })

  test("that exits fails its calls in flight, and is replaced", async () => {
    const harness = await inWorker(subject({ abilities: DEEDS }))
    const beside = ask(harness, "hang")
    expect(await ask(harness, "exit")).toBeUndefined()
    expect(await beside).toBeUndefined()
    expect(endings(harness)[0]).toMatchObject({ reason: expect.stringContaining("exit code 3") })
    expect(harness.registry.getInfo("subject").metrics.errors).toBeGreaterThanOrEqual(3)
    await isBack(harness)
    expect(harness.said.filter((what) => what === "subject up 1")).toHaveLength(2)
    expect(harness.metrics.counter("gateway.plugin.restarts", { plugin: "subject" }).value).toBe(1)
  })

  test("that ends again and again is waited for longer each time", async () => {
    const harness = await inWorker(subject({ abilities: DEEDS }))
    for (let round = 0; round < 3; round++) {
      await isBack(harness)
      await ask(harness, "exit")
    }
    expect(endings(harness).map(({ delayMs }) => delayMs)).toEqual([100, 200, 400])
  })

  test("that runs out of stack, or fails outside a call, lives on; it counts for the plugin", async () => {
    const harness = await inWorker(subject({ abilities: DEEDS }))
    expect(await ask(harness, "stack")).toBeUndefined()
    expect(await ask(harness, "late")).toBeUndefined()
    await waitFor("all three failures", () => instanceOf(harness).conduct.failures === 3)
    expect(await ask(harness, "")).toBe("fine")
    const lines = harness.log.filter(({ message }) => message === "a plugin threw outside a call")
    expect(lines[0]).toMatchObject({ plugin: "subject", file: expect.stringContaining("subject.ts") })
    expect(endings(harness)).toEqual([])
  })

  test("that grows beyond its memory is ended and replaced", async () => {
    const harness = await inWorker(subject({ abilities: DEEDS }), { workerMemoryBytes: 60e6 })
    await ask(harness, "hog")
    await waitFor("the end of the worker", () => endings(harness).length === 1)
    expect(endings(harness)[0]).toMatchObject({ reason: expect.stringContaining("more than worker_memory") })
    await isBack(harness)
  })

  test("runs its shutdown and its clean-ups when it is disposed, and is gone then", async () => {
    const harness = await inWorker(
      subject({
        setup: `setInterval(() => log.info("tick"), 1); signal.addEventListener("abort", () => say("aborted", 0))
          onDispose(async () => { await state.set("last", 1); say("cleaned", 0) })`,
        abilities: `beforeHandle() {}, async shutdown() { await Bun.sleep(1); say("shut down", 0) }`,
      }),
    )
    harness.registry.disable("subject")
    await harness.heard("cleaned 0")
    expect(harness.said).toEqual(["subject up 1", "aborted 0", "shut down 0", "subject gone 1", "cleaned 0"])
    await waitFor("the ticking to stop", async () => {
      const before = harness.log.length
      await Bun.sleep(20)
      return harness.log.length === before
    })
  })

  test("that does not finish its shutdown is ended at the deadline", async () => {
    const harness = await inWorker(subject({ abilities: "beforeHandle() {}, shutdown() { for (;;); }" }), {
      setupTimeoutMs: 1000,
    })
    await harness.registry.shutdownAll()
    expect(harness.log.some(({ message }) => message === "the shutdown of a plugin failed")).toBe(true)
  })

  test("is replaced by that of the new version when the plugin is reloaded", async () => {
    const harness = await inWorker(subject({ abilities: "beforeHandle: () => new Response('one')" }))
    expect(await ask(harness, "")).toBe("one")
    harness.write(
      "subject.ts",
      subject({ version: "2.0.0", abilities: "beforeHandle: () => new Response('two')" }),
    )
    await harness.registry.reload("subject")
    expect(await ask(harness, "")).toBe("two")
    await harness.heard("subject gone 1")
  })

  test("is started again with its own version after a newer one failed to load", async () => {
    const harness = await inWorker(subject({ abilities: DEEDS }))
    for (let round = 0; round < 2; round++) {
      harness.write("subject.ts", subject({ setup: `throw new Error("broken ${round}")` }))
      await failureOf(() => harness.registry.reload("subject"))
    }
    await ask(harness, "exit")
    await isBack(harness)
  })
})
