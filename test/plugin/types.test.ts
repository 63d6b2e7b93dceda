/**
 * What compiles and what does not. `tsc --noEmit` judges this file: a `@ts-expect-error` above a line without an error is
 * an error itself. Nothing here has to run, but definitions do nothing, so they may.
 */
import { describe, expectTypeOf, test } from "bun:test"
import {
  type AuthAbilities,
  type AvailableProvider,
  type CacheAbilities,
  type CacheStats,
  type ChatCompletion,
  type ChatCompletionChunk,
  type ChatRequest,
  type DeepReadonly,
  definePlugin,
  type EmbedCall,
  type EmbeddingRequest,
  type FetchContext,
  GatewayError,
  type HookContext,
  type Hooks,
  type MiddlewareAbilities,
  type MiddlewareContext,
  type MonitoringEvent,
  matcher,
  type PluginDefinition,
  type PluginLoadEvent,
  type PluginLogger,
  type PluginStore,
  type Principal,
  type ProviderCall,
  type RouteRequest,
  type StreamOutcome,
  type TimedMetric,
  type TraceStart,
  type TransformContext,
  Type,
  type Usage,
} from "leapgate/plugin"

const version = "1.0.0"

describe("the config that setup gets", () => {
  test("has the types of its schema: defaults are filled in, units are numbers", () => {
    definePlugin({
      name: "a",
      version,
      type: "middleware",
      config: Type.Object({
        limit: Type.Integer({ default: 5 }),
        window: Type.Duration({ default: "1m" }),
        size: Type.Bytes(),
        mode: Type.Union([Type.Literal("ip"), Type.Literal("key")]),
        note: Type.Optional(Type.String()),
        every: Type.Optional(Type.Duration()),
        paths: Type.Array(Type.String()),
        nested: Type.Object({ isOn: Type.Boolean() }),
      }),
      setup({ config }) {
        expectTypeOf(config.limit).toEqualTypeOf<number>()
        expectTypeOf(config.window).toEqualTypeOf<number>()
        expectTypeOf(config.size).toEqualTypeOf<number>()
        expectTypeOf(config.mode).toEqualTypeOf<"ip" | "key">()
        expectTypeOf(config.note).toEqualTypeOf<string | undefined>()
        expectTypeOf(config.every).toEqualTypeOf<number | undefined>()
        expectTypeOf(config.paths).toEqualTypeOf<string[]>()
        expectTypeOf(config.nested.isOn).toEqualTypeOf<boolean>()
        // @ts-expect-error a number is no text
        config.limit.toUpperCase
        // @ts-expect-error there is no such setting
        config.limits
        return { beforeHandle() {} }
      },
    })
  })

  test("is empty where there is no schema", () => {
    definePlugin({
      name: "a",
      version,
      type: "monitoring",
      setup({ config }) {
        // @ts-expect-error there are no settings
        config.limit
        return {}
      },
    })
  })

  test("is described by a schema of an object, and by nothing else", () => {
    // @ts-expect-error a schema of text
    definePlugin({ name: "a", version, type: "monitoring", config: Type.String(), setup: () => ({}) })
    // @ts-expect-error plain data
    definePlugin({ name: "a", version, type: "monitoring", config: { limit: 5 }, setup: () => ({}) })
    // @ts-expect-error a duration is text such as "1m"
    Type.Duration({ default: 60 })
  })
})

test("setup gets typed services", () => {
  definePlugin({
    name: "a",
    version,
    type: "monitoring",
    async setup({ name, log, state, signal, emit, onDispose, directory }) {
      expectTypeOf(name).toEqualTypeOf<string>()
      expectTypeOf(directory).toEqualTypeOf<string>()
      expectTypeOf(log).toEqualTypeOf<PluginLogger>()
      expectTypeOf(state).toEqualTypeOf<PluginStore>()
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
      expectTypeOf((await state.increment("a", { ttlMs: 5 })).value).toEqualTypeOf<number>()
      expectTypeOf(await state.get("a")).toEqualTypeOf<unknown>()
      emit.metric({ name: "a", value: 1, type: "counter" })
      // @ts-expect-error no such type of metric
      emit.metric({ name: "a", value: 1, type: "count" })
      onDispose(() => {})
      return {}
    },
  })
})

test("a definition keeps its type and its schema", () => {
  const config = Type.Object({ limit: Type.Integer() })
  const plugin = definePlugin({
    name: "a",
    version,
    type: "router",
    config,
    setup: () => ({ routeRequest: () => true, selectProvider: () => "a" }),
  })
  expectTypeOf(plugin).toEqualTypeOf<PluginDefinition<"router", typeof config>>()
})

describe("the arguments of abilities are inferred", () => {
  test("of a provider", () => {
    definePlugin({
      name: "a",
      version,
      type: "provider",
      setup: () => ({
        models: ["a", { id: "b", inputCostUsd: 1 }],
        async listModels(context) {
          expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>()
          return ["a"]
        },
        chat(call) {
          expectTypeOf(call).toEqualTypeOf<ProviderCall>()
          return fetch("http://127.0.0.1", { body: call.body, signal: call.signal })
        },
        embed(call) {
          expectTypeOf(call).toEqualTypeOf<EmbedCall>()
          return new Response()
        },
        async healthCheck({ signal }) {
          expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
        },
        estimateCost(request) {
          expectTypeOf(request).toEqualTypeOf<DeepReadonly<ChatRequest>>()
          return null
        },
      }),
    })
  })

  test("of a middleware", () => {
    definePlugin({
      name: "a",
      version,
      type: "middleware",
      setup: () => ({
        priority: 5,
        beforeHandle(context) {
          expectTypeOf(context).toEqualTypeOf<MiddlewareContext>()
        },
        afterHandle(context, response) {
          expectTypeOf(context.values).toEqualTypeOf<Map<string, unknown>>()
          expectTypeOf(response).toEqualTypeOf<Response>()
          return response
        },
        onError(context, error) {
          expectTypeOf(context.principal).toEqualTypeOf<Principal>()
          expectTypeOf(error).toEqualTypeOf<GatewayError>()
        },
      }),
    })
  })

  test("of a router", () => {
    definePlugin({
      name: "a",
      version,
      type: "router",
      setup: () => ({
        routeRequest(request) {
          expectTypeOf(request).toEqualTypeOf<RouteRequest>()
          return true
        },
        selectProvider(request, available) {
          expectTypeOf(request).toEqualTypeOf<RouteRequest>()
          expectTypeOf(available).toEqualTypeOf<readonly AvailableProvider[]>()
          return available[0]?.name
        },
      }),
    })
  })

  test("of a cache", () => {
    definePlugin({
      name: "a",
      version,
      type: "cache",
      setup: () => ({
        distributed: false,
        get(key) {
          expectTypeOf(key).toEqualTypeOf<string>()
          return undefined
        },
        set(key, value, options) {
          expectTypeOf(key).toEqualTypeOf<string>()
          expectTypeOf(value).toEqualTypeOf<Uint8Array>()
          expectTypeOf(options.ttlMs).toEqualTypeOf<number | undefined>()
        },
        delete: (key) => key === "",
        clear() {},
        stats: (): CacheStats => ({
          hits: 0,
          misses: 0,
          sets: 0,
          deletes: 0,
          sizeBytes: 0,
          entries: 0,
          evictions: 0,
        }),
      }),
    })
  })

  test("of an auth plugin", () => {
    definePlugin({
      name: "a",
      version,
      type: "auth",
      setup: () => ({
        async authenticate(token, context) {
          expectTypeOf(token).toEqualTypeOf<string>()
          expectTypeOf(context).toEqualTypeOf<HookContext>()
          if (token === "") return undefined
          return { name: token, via: "plugin", roles: [], permissions: [], metadata: {} }
        },
        authorize(principal, action, resource) {
          expectTypeOf(principal).toEqualTypeOf<Principal>()
          expectTypeOf(action).toEqualTypeOf<string>()
          expectTypeOf(resource).toEqualTypeOf<string>()
          return true
        },
        permissions: (userId) => [userId],
      }),
    })
  })

  test("of a monitoring plugin", () => {
    definePlugin({
      name: "a",
      version,
      type: "monitoring",
      setup: () => ({
        recordMetric(batch) {
          expectTypeOf(batch).toEqualTypeOf<readonly TimedMetric[]>()
        },
        recordEvent(batch) {
          expectTypeOf(batch).toEqualTypeOf<readonly MonitoringEvent[]>()
        },
        startTrace(batch) {
          expectTypeOf(batch).toEqualTypeOf<readonly TraceStart[]>()
        },
        export: () => "",
      }),
    })
  })

  test("of a transform", () => {
    definePlugin({
      name: "a",
      version,
      type: "transform",
      setup: () => ({
        supportsFormat: (format) => format === "openai-chat",
        transformRequest(request, context) {
          expectTypeOf(request).toEqualTypeOf<DeepReadonly<ChatRequest>>()
          expectTypeOf(context).toEqualTypeOf<TransformContext>()
          return { ...request, temperature: 0 }
        },
        transformResponse(response) {
          expectTypeOf(response).toEqualTypeOf<DeepReadonly<ChatCompletion>>()
        },
        transformChunk(chunk) {
          expectTypeOf(chunk).toEqualTypeOf<DeepReadonly<ChatCompletionChunk>>()
          return chunk.choices.length > 0 ? chunk : null
        },
      }),
    })
  })

  test("of every type: fetch, shutdown and the hooks", () => {
    definePlugin({
      name: "a",
      version,
      type: "middleware",
      setup: () => ({
        public: true,
        fetch(request, context) {
          expectTypeOf(request).toEqualTypeOf<Request>()
          expectTypeOf(context).toEqualTypeOf<FetchContext>()
          return new Response()
        },
        async shutdown() {},
        hooks: {
          onRequest({ model, operation, request, headers }, { signal }) {
            expectTypeOf(model).toEqualTypeOf<string>()
            if (operation === "chat") expectTypeOf(request).toEqualTypeOf<DeepReadonly<ChatRequest>>()
            else expectTypeOf(request).toEqualTypeOf<DeepReadonly<EmbeddingRequest>>()
            expectTypeOf(headers).toEqualTypeOf<Headers>()
            expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
            return { model: "b", metadata: { why: "a test" } }
          },
          onChunk({ chunk, index }) {
            expectTypeOf(chunk).toEqualTypeOf<ChatCompletionChunk>()
            expectTypeOf(index).toEqualTypeOf<number>()
            return null
          },
          onText({ text, isFinal }) {
            expectTypeOf(isFinal).toEqualTypeOf<boolean>()
            return text
          },
          onStreamEnd({ outcome, firstTokenMs }) {
            expectTypeOf(outcome).toEqualTypeOf<StreamOutcome>()
            expectTypeOf(firstTokenMs).toEqualTypeOf<number | undefined>()
          },
          onResponse({ usage, costUsd }) {
            expectTypeOf(usage).toEqualTypeOf<Usage | undefined>()
            expectTypeOf(costUsd).toEqualTypeOf<number | undefined>()
          },
          onError({ error, errorType }) {
            expectTypeOf(error).toEqualTypeOf<GatewayError>()
            expectTypeOf(errorType).toEqualTypeOf<GatewayError["kind"]>()
          },
          onProviderSwitch({ fromProvider }) {
            expectTypeOf(fromProvider).toEqualTypeOf<string>()
          },
          onPluginLoad({ change }) {
            expectTypeOf(change).toEqualTypeOf<PluginLoadEvent["change"]>()
            expectTypeOf<"rolled_back">().toExtend<typeof change>()
          },
          onCacheEvent({ eventType }) {
            expectTypeOf(eventType).toEqualTypeOf<"hit" | "miss" | "set" | "delete" | "evict">()
          },
          onMetric({ value }) {
            expectTypeOf(value).toEqualTypeOf<number>()
          },
        },
      }),
    })
  })
})

describe("what does not exist does not compile", () => {
  test("a misspelt hook, alone or beside others", () => {
    // @ts-expect-error onRespnse
    definePlugin({ name: "a", version, type: "monitoring", setup: () => ({ hooks: { onRespnse() {} } }) })
    const text: Hooks["onText"] = ({ text }) => text
    definePlugin({
      name: "a",
      version,
      type: "monitoring",
      // @ts-expect-error onRespnse
      setup: () => ({ hooks: { onText: text, onRespnse() {} } }),
    })
    definePlugin({
      name: "a",
      version,
      type: "monitoring",
      // @ts-expect-error onRespnse
      async setup({ log }) {
        log.info("set up")
        return { hooks: { onText: text, onRespnse() {} } }
      },
    })
  })

  test("a misspelt ability, alone or beside others", () => {
    // @ts-expect-error beforeHandel
    definePlugin({ name: "a", version, type: "middleware", setup: () => ({ beforeHandel() {} }) })
    definePlugin({
      name: "a",
      version,
      type: "middleware",
      // @ts-expect-error afterHandel
      setup: () => ({ beforeHandle() {}, afterHandel() {} }),
    })
    definePlugin({
      name: "a",
      version,
      type: "middleware",
      config: Type.Object({ isOn: Type.Boolean() }),
      // @ts-expect-error afterHandel, in one of two results
      setup({ config }) {
        if (config.isOn) return { beforeHandle() {} }
        return { beforeHandle() {}, afterHandel() {} }
      },
    })
  })

  test("an ability of another type", () => {
    definePlugin({
      name: "a",
      version,
      type: "router",
      // @ts-expect-error a router handles nothing
      setup: () => ({ routeRequest: () => true, selectProvider: () => "a", beforeHandle() {} }),
    })
  })

  test("a type, a property of the definition, an error code", () => {
    // @ts-expect-error midleware
    definePlugin({ name: "a", version, type: "midleware", setup: () => ({ beforeHandle() {} }) })
    // @ts-expect-error desciption
    definePlugin({ name: "a", version, type: "monitoring", desciption: "", setup: () => ({}) })
    // @ts-expect-error no such code
    new GatewayError("internal_error", "").code satisfies "no_such_code"
  })

  test("a plugin without what its type needs", () => {
    // @ts-expect-error a provider has to chat
    definePlugin({ name: "a", version, type: "provider", setup: () => ({ models: [] }) })
    // @ts-expect-error a router has to select
    definePlugin({ name: "a", version, type: "router", setup: () => ({ routeRequest: () => true }) })
    // @ts-expect-error a transform has to say what it supports
    definePlugin({ name: "a", version, type: "transform", setup: () => ({ transformRequest() {} }) })
    // @ts-expect-error setup has to return something
    definePlugin({ name: "a", version, type: "monitoring", setup() {} })
  })
})

describe("a wrong result does not compile", () => {
  test("of a hook", () => {
    // @ts-expect-error text, not a number
    definePlugin({ name: "a", version, type: "monitoring", setup: () => ({ hooks: { onText: () => 5 } }) })
    definePlugin({
      name: "a",
      version,
      type: "monitoring",
      // @ts-expect-error text, not a promise of a number
      setup: () => ({ hooks: { onText: async () => 5 } }),
    })
    // @ts-expect-error a chunk or null, not text
    definePlugin({ name: "a", version, type: "monitoring", setup: () => ({ hooks: { onChunk: () => "a" } }) })
    definePlugin({
      name: "a",
      version,
      type: "monitoring",
      // @ts-expect-error a change of the request, not the request
      setup: () => ({ hooks: { onRequest: () => "a" } }),
    })
    definePlugin({
      name: "a",
      version,
      type: "monitoring",
      // @ts-expect-error modle
      setup: () => ({ hooks: { onRequest: () => ({ modle: "a" }) } }),
    })
  })

  test("of an ability", () => {
    // @ts-expect-error a Response or nothing, not text
    definePlugin({ name: "a", version, type: "middleware", setup: () => ({ beforeHandle: () => "a" }) })
    definePlugin({
      name: "a",
      version,
      type: "router",
      // @ts-expect-error a provider's name, not its index
      setup: () => ({ routeRequest: () => true, selectProvider: () => 5 }),
    })
    // @ts-expect-error an answer, not text
    definePlugin({ name: "a", version, type: "provider", setup: () => ({ models: ["a"], chat: () => "a" }) })
    definePlugin({
      name: "a",
      version,
      type: "provider",
      // @ts-expect-error models are names or objects
      setup: () => ({ models: [5], chat: () => new Response() }),
    })
    definePlugin({
      name: "a",
      version,
      type: "auth",
      // @ts-expect-error a principal, not a name
      setup: () => ({ authenticate: () => "somebody" }),
    })
  })
})

describe("what is right compiles", () => {
  test("two results with different abilities", () => {
    definePlugin({
      name: "a",
      version,
      type: "middleware",
      async setup({ name }) {
        if (name === "b") return { hooks: { onText: ({ text }) => text } }
        return {
          beforeHandle({ setHeader }) {
            setHeader("a", "b")
          },
          afterHandle() {},
        }
      },
    })
  })

  test("a setup that always throws", () => {
    definePlugin({
      name: "a",
      version,
      type: "cache",
      setup() {
        throw new Error("no cache here")
      },
    })
  })

  test("abilities that are there or not, and annotated ones", () => {
    definePlugin({ name: "a", version, type: "middleware", setup: () => ({ beforeHandle() {}, hooks: {} }) })
    definePlugin({
      name: "a",
      version,
      type: "middleware",
      setup: (): MiddlewareAbilities => ({ beforeHandle() {} }),
    })
    class Guests implements AuthAbilities {
      guests = 0
      authenticate() {
        this.guests++
        return undefined
      }
    }
    definePlugin({ name: "a", version, type: "auth", setup: (): AuthAbilities => new Guests() })
    expectTypeOf<CacheAbilities["get"]>().returns.toEqualTypeOf<
      Uint8Array | undefined | Promise<Uint8Array | undefined>
    >()
  })
})

describe("matcher", () => {
  test("takes patterns and gives a predicate of text", () => {
    const served: readonly string[] = ["gpt-*"]
    expectTypeOf(matcher(served)).toEqualTypeOf<(text: string) => boolean>()
    // @ts-expect-error a list, for one pattern too
    const single = () => matcher("gpt-*")
    expectTypeOf(single).toBeFunction()
  })
})
