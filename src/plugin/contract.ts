/**
 * The plugin contract: everything a plugin can be, return, receive and do.
 *
 * A plugin file default-exports `definePlugin({...})`. Importing it does nothing; `setup` runs once for
 * every loaded version and returns the abilities of its type, plus any hooks.
 */
import type { Static, StaticDecode, TObject, TProperties } from "@sinclair/typebox"
import type { GatewayError } from "../errors.ts"
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  DeepReadonly,
  EmbeddingRequest,
  EmbeddingResponse,
  Usage,
} from "../protocol/openai.ts"

export type Awaitable<T> = T | Promise<T>

export const PLUGIN_TYPES = [
  "provider",
  "middleware",
  "router",
  "cache",
  "auth",
  "monitoring",
  "transform",
] as const
export type PluginType = (typeof PLUGIN_TYPES)[number]

export type PluginState = "loaded" | "active" | "inactive" | "error" | "unloaded"

// ---------------------------------------------------------------------------------------------------
// Definition and setup

export interface PluginDefinition<T extends PluginType = PluginType, S extends TObject = TObject> {
  /** Lower-case kebab, unique in the gateway: `rate-limiter`. `hooks` is reserved. */
  readonly name: string
  /** Semantic version: `1.0.0`. */
  readonly version: string
  readonly type: T
  readonly description?: string
  /** Schema of `plugins.configs.<name>.config`. Defaults are filled in, then `setup` gets the decoded value. */
  readonly config?: S
  /** Plugins that must be active before this one, with the versions accepted: `{ "geo-ip": "^1.2.0" }`. */
  readonly dependencies?: Readonly<Record<string, string>>
  /** Plugins that are set up before this one when they are present. */
  readonly loadAfter?: readonly string[]
  /** Author, license, homepage, tags … shown by the admin API. */
  readonly metadata?: Readonly<Record<string, unknown>>
  setup(context: SetupContext<StaticDecode<S>>): Awaitable<Abilities<T>>
}

export interface SetupContext<C = unknown> {
  readonly name: string
  readonly version: string
  readonly config: C
  readonly log: PluginLogger
  /** Key-value state of this plugin. It outlives reloads. */
  readonly state: PluginStore
  /** Aborts when this version of the plugin is disposed. */
  readonly signal: AbortSignal
  /** The plugin directory, absolute. */
  readonly directory: string
  readonly emit: PluginEmitter
  /** Registers a clean-up; they run in reverse order when this version is disposed. */
  onDispose(cleanup: () => Awaitable<void>): void
}

export interface PluginLogger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** Counters and values that belong to one plugin. In memory on one node; shared where a state server is configured. */
export interface PluginStore {
  get(key: string): Awaitable<unknown>
  /** @param options.ttlMs forget the key after this many milliseconds. */
  set(key: string, value: unknown, options?: { ttlMs?: number }): Awaitable<void>
  delete(key: string): Awaitable<boolean>
  /**
   * Adds `by` (default 1) to a counter, which starts at 0. `ttlMs` counts from the creation of the counter,
   * so a fixed window needs no second key.
   * @returns the new value and when the counter expires, in milliseconds since the epoch (Infinity: never).
   */
  increment(key: string, options?: { by?: number; ttlMs?: number }): Awaitable<CounterValue>
}

export interface CounterValue {
  readonly value: number
  readonly expiresAtMs: number
}

/** Events that a plugin raises itself; they reach the observers of every active plugin. */
export interface PluginEmitter {
  metric(metric: Metric): void
  cacheEvent(event: Omit<CacheEvent, "plugin" | "timestamp">): void
}

/** What `setup` returns: the abilities of the plugin's type, and those that every type may have. */
export type Abilities<T extends PluginType = PluginType> = AbilitiesByType[T] & CommonAbilities

/** What a plugin of any type may return. */
export interface CommonAbilities {
  readonly hooks?: Hooks
  /**
   * Answers requests to `/plugins/<name>` and below, whatever their method. They are authenticated like those to
   * `/v1`, and come without the headers that carried the credential, unless `public` is true. Throw `GatewayError`
   * to answer with an error body.
   */
  fetch?(request: Request, context: FetchContext): Awaitable<Response>
  /** Lets everybody who can connect use `fetch`, without a key. */
  readonly public?: boolean
  /** Runs once when this version is disposed, before the `onDispose` clean-ups. */
  shutdown?(): Awaitable<void>
}

export interface FetchContext {
  readonly requestId: string
  readonly traceId: string
  /** Who asks; `anonymous` where the plugin is public and no credential was sent. */
  readonly principal: Principal
  /** The peer's address. */
  readonly clientIp: string
  /** The path below `/plugins/<name>`, without the query: `/` or `/a/b`. */
  readonly path: string
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal
}

interface AbilitiesByType {
  provider: ProviderAbilities
  middleware: MiddlewareAbilities
  router: RouterAbilities
  cache: CacheAbilities
  auth: AuthAbilities
  monitoring: MonitoringAbilities
  transform: TransformAbilities
}

// ---------------------------------------------------------------------------------------------------
// Provider

export interface ModelInfo {
  readonly id: string
  readonly contextLength?: number
  /** US dollars for a million tokens. */
  readonly inputCostUsd?: number
  readonly outputCostUsd?: number
  /** 0 to 1; what `quality_first` ranks by. */
  readonly quality?: number
}

export interface ProviderAbilities {
  readonly models: readonly (string | ModelInfo)[]
  /**
   * The models as they are now. Asked when the plugin comes into service and every minute from then on; until the
   * first answer, and where it throws, the models known last are served, at first `models`.
   */
  listModels?(context: { signal: AbortSignal }): Awaitable<readonly (string | ModelInfo)[]>
  /**
   * Answers one attempt. Return a `Response` to pass an upstream's bytes through (any status: the gateway
   * classifies it), a completion, or for `call.stream` an async iterable of chunks.
   * Throw `GatewayError("upstream_…")` to choose how the failure counts; anything else counts as a server error.
   */
  chat(call: ProviderCall): Awaitable<ProviderReply>
  /**
   * Answers one attempt at embeddings. Return a `Response` to pass an upstream's bytes through, or the object: the
   * gateway writes its vectors as the client asked for them, whether they are numbers or base64.
   * Without it the provider's models are not tried for embeddings.
   */
  embed?(call: EmbedCall): Awaitable<EmbedReply>
  /**
   * Resolves when the provider can serve; throws why not, which is no failure of the plugin. One that cannot is tried
   * after those that can. Asked when the plugin comes into service and every `routing.health_check_interval`; too late
   * is a no.
   */
  healthCheck?(context: { signal: AbortSignal }): Awaitable<void>
  /** Expected price of a request in US dollars, or null where it is not known. */
  estimateCost?(request: DeepReadonly<ChatRequest>): number | null
}

export interface ProviderCall {
  readonly requestId: string
  readonly traceId: string
  /** The model as this provider names it. */
  readonly model: string
  readonly stream: boolean
  /** The request with this provider's model name, parsed when first read. */
  readonly request: DeepReadonly<ChatRequest>
  /** The same as JSON bytes; the client's own where nothing was changed. */
  readonly body: Uint8Array<ArrayBuffer>
  /** 1 for the first try of the request. */
  readonly attempt: number
  /** Aborts when the client leaves, a deadline passes or another attempt won. */
  readonly signal: AbortSignal
}

/** One attempt at embeddings. */
export interface EmbedCall {
  readonly requestId: string
  readonly traceId: string
  /** The model as this provider names it. */
  readonly model: string
  /** The request with this provider's model name, parsed when first read. */
  readonly request: DeepReadonly<EmbeddingRequest>
  /** The same as JSON bytes; the client's own where nothing was changed. */
  readonly body: Uint8Array<ArrayBuffer>
  /** 1 for the first try of the request. */
  readonly attempt: number
  /** Aborts when the client leaves, a deadline passes or another attempt won. */
  readonly signal: AbortSignal
}

export type ProviderReply = Response | ChatCompletion | AsyncIterable<ChatCompletionChunk>
export type EmbedReply = Response | EmbeddingResponse

// ---------------------------------------------------------------------------------------------------
// Middleware

export interface MiddlewareAbilities {
  /** 0 to 100, higher runs first; default 50. `plugins.configs.<name>.priority` wins over it. */
  readonly priority?: number
  /** Paths this middleware sees; `*` matches any run of characters. None: every client route. */
  readonly routes?: readonly string[]
  /** Runs after authentication. A returned `Response` ends the request. Throw `GatewayError` to reject it. */
  beforeHandle?(context: MiddlewareContext): Awaitable<Response | void>
  /** Runs in reverse order on the way out. A returned `Response` replaces the reply. */
  afterHandle?(context: MiddlewareContext, response: Response): Awaitable<Response | void>
  /** Sees the error of a request whose `beforeHandle` ran. A returned `Response` replaces the error body. */
  onError?(context: MiddlewareContext, error: GatewayError): Awaitable<Response | void>
}

export interface MiddlewareContext {
  readonly requestId: string
  readonly traceId: string
  readonly generation: number
  readonly method: string
  /** The path as it was sent, without the query. */
  readonly path: string
  readonly headers: Headers
  /** The peer's address. */
  readonly clientIp: string
  readonly principal: Principal
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal
  /** Sets a header on the reply, whatever the reply will be. */
  setHeader(name: string, value: string): void
  /** Values that middlewares of this request share. */
  readonly values: Map<string, unknown>
}

/** Who asks. */
export interface Principal {
  /** Name of the API key, `anonymous`, or what an auth plugin says. */
  readonly name: string
  readonly via: "key" | "anonymous" | "plugin"
  readonly userId?: string
  readonly accountId?: string
  readonly roles: readonly string[]
  readonly permissions: readonly string[]
  readonly metadata: Readonly<Record<string, unknown>>
  /** Milliseconds since the epoch. */
  readonly expiresAtMs?: number
}

// ---------------------------------------------------------------------------------------------------
// Router

export interface RouterAbilities {
  /** 0 to 100, higher is asked first; default 50. */
  readonly priority?: number
  /** Whether this plugin wants to choose for this request. */
  routeRequest(request: RouteRequest): Awaitable<boolean>
  /**
   * @returns a provider's name, or `provider/model` to change the model too; nothing to pass.
   * The remaining candidates stay as fail-over.
   */
  selectProvider(
    request: RouteRequest,
    available: readonly AvailableProvider[],
  ): Awaitable<string | undefined>
}

export interface RouteRequest {
  readonly requestId: string
  readonly operation: Operation
  /** As the client asked. */
  readonly model: string
  /** The provider the client named as `provider/model`, if it did. */
  readonly provider: string | undefined
  readonly stream: boolean
  /** Parsed when first read; none of a request for embeddings. */
  readonly messages: DeepReadonly<ChatRequest["messages"]>
  /** Size of the request body in bytes: a cheap measure of the prompt. */
  readonly bodyBytes: number
  readonly headers: Headers
  readonly metadata: Readonly<Record<string, unknown>>
  readonly principal: Principal
  readonly userId: string | undefined
  readonly signal: AbortSignal
}

export interface AvailableProvider {
  readonly name: string
  readonly models: readonly ModelInfo[]
}

// ---------------------------------------------------------------------------------------------------
// Cache, auth, monitoring, transform

/**
 * Keeps whole replies. The gateway asks before it routes a call and fills in afterwards; keys and values are its
 * own, and mean nothing to the plugin. Where something fails here, or takes too long, the call goes on without.
 */
export interface CacheAbilities {
  /** 0 to 100, higher is asked first; default 50. */
  readonly priority?: number
  get(key: string): Awaitable<Uint8Array | undefined>
  /** @param options.ttlMs how long to keep it, in milliseconds; the plugin's own default where it is not given */
  set(key: string, value: Uint8Array, options: { ttlMs?: number }): Awaitable<void>
  /** @returns whether there was such an entry */
  delete(key: string): Awaitable<boolean>
  clear(): Awaitable<void>
  stats(): Awaitable<CacheStats>
  /** Whether several nodes share its content. */
  readonly distributed: boolean
}

export interface CacheStats {
  readonly hits: number
  readonly misses: number
  readonly sets: number
  readonly deletes: number
  readonly sizeBytes: number
  readonly entries: number
  readonly evictions: number
}

/** Says who callers are and what they may do. Whatever fails here, or takes too long, is a refusal. */
export interface AuthAbilities {
  /** 0 to 100, higher is asked first; default 50. */
  readonly priority?: number
  /**
   * Resolves a credential that is none of the configured keys; undefined for one that this plugin does not know.
   * Throw `GatewayError("invalid_api_key", …)` for one that it knows to be bad.
   */
  authenticate(token: string, context: HookContext): Awaitable<Principal | undefined>
  /**
   * Whether `principal` may do `action` with `resource`. Asked for every caller, whoever said who that is:
   * `model.use` with the model's name as the client wrote it; for callers of the admin API that this plugin or
   * another one authenticated, `admin.read` or `admin.write` with the decoded path. All plugins must agree.
   */
  authorize?(principal: Principal, action: string, resource: string, context: HookContext): Awaitable<boolean>
  /** More permissions of a user, added to those of the principal that `authenticate` gave. */
  permissions?(userId: string, context: HookContext): Awaitable<readonly string[]>
}

/** Receives, in batches and off the request path, what goes on in the gateway. */
export interface MonitoringAbilities {
  /** What `onMetric` is told, oldest first. */
  recordMetric?(batch: readonly TimedMetric[]): Awaitable<void>
  /** What happened to requests, providers, plugins and caches, oldest first. */
  recordEvent?(batch: readonly MonitoringEvent[]): Awaitable<void>
  /** Requests that have begun. */
  startTrace?(batch: readonly TraceStart[]): Awaitable<void>
  /** Text in the Prometheus exposition format, for `/metrics`. */
  export?(): Awaitable<string>
}

export interface TimedMetric extends Metric {
  /** Milliseconds since the epoch. */
  readonly timestamp: number
}

export interface MonitoringEvent {
  /** The name of the hook that is told the same: `onResponse`, `onProviderSwitch` … */
  readonly name: string
  /** Milliseconds since the epoch. */
  readonly timestamp: number
  /** Plain data, without the content of requests and replies. */
  readonly attributes: Readonly<Record<string, unknown>>
}

export interface TraceStart {
  readonly traceId: string
  readonly requestId: string
  /** Method and route: `POST /v1/chat/completions`. */
  readonly name: string
  /** Milliseconds since the epoch. */
  readonly startTime: number
}

/**
 * Rewrites calls. Requests pass the transforms by priority, higher first; replies pass them the other way round, so
 * that the one nearest to the provider sees what the provider sent. Return nothing to leave things as they are.
 */
export interface TransformAbilities {
  /** 0 to 100, higher is nearer to the client; default 50. */
  readonly priority?: number
  /**
   * Frozen: return a changed copy. It is checked like the client's; its `stream` stays the client's. What it says
   * about the model decides where the call is routed.
   */
  transformRequest?(
    request: DeepReadonly<ChatRequest>,
    context: TransformContext,
  ): Awaitable<DeepReadonly<ChatRequest> | void>
  /** The same for a request for embeddings. Their replies hold no text, so there is nothing like it for those. */
  transformEmbeddingRequest?(
    request: DeepReadonly<EmbeddingRequest>,
    context: TransformContext,
  ): Awaitable<DeepReadonly<EmbeddingRequest> | void>
  /** Each plain reply; a streamed one is seen by `transformChunk` alone. */
  transformResponse?(
    response: DeepReadonly<ChatCompletion>,
    context: TransformContext,
  ): Awaitable<DeepReadonly<ChatCompletion> | void>
  /** Each chunk of a streamed reply; null drops it. Throw `GatewayError` to end the stream with that error. */
  transformChunk?(
    chunk: DeepReadonly<ChatCompletionChunk>,
    context: TransformContext,
  ): Awaitable<DeepReadonly<ChatCompletionChunk> | null | void>
  /**
   * Asked with `openai-chat` and `openai-embeddings` whenever the set of live plugins has changed, and not for each
   * call; a plugin that says no is left out. One that throws fails every call where it is to fail closed, as
   * transforms are unless `on_error` says otherwise; else it is left out too.
   */
  supportsFormat(format: string): boolean
}

export interface TransformContext extends HookContext, CallEvent {
  /** Values that the transforms of this call share: a map for what one step leaves for another. */
  readonly values: Map<string, unknown>
}

// ---------------------------------------------------------------------------------------------------
// Hooks

/**
 * `series`: one after another in priority order, may change or reject. `observe`: told afterwards, never
 * delays anybody, cannot change anything.
 */
export type HookKind = "series" | "observe"

export const HOOK_KINDS = {
  onRequest: "series",
  onChunk: "series",
  onText: "series",
  onStreamEnd: "observe",
  onResponse: "observe",
  onError: "observe",
  onProviderSwitch: "observe",
  onPluginLoad: "observe",
  onCacheEvent: "observe",
  onMetric: "observe",
} as const satisfies Record<keyof Hooks, HookKind>

export type HookName = keyof Hooks
export const HOOK_NAMES = Object.keys(HOOK_KINDS) as readonly HookName[]

export interface HookContext {
  /** Aborts when the hook's deadline passes or, in `series` hooks, the client leaves. */
  readonly signal: AbortSignal
}

export interface Hooks {
  /** Before routing. Return changes, or throw `GatewayError` to reject the request. */
  onRequest?(event: RequestEvent, context: HookContext): Awaitable<RequestChange | void>
  /** Each chunk of a streamed reply. Return a chunk to replace it, `null` to drop it; throw `GatewayError` to end the stream with that error. */
  onChunk?(event: ChunkEvent, context: HookContext): Awaitable<ChatCompletionChunk | null | void>
  /**
   * The text of a reply, streamed or not. Streamed text arrives with the last `TEXT_WINDOW` characters held
   * back until more follows, so a match may span chunks. Return the text to send instead.
   */
  onText?(event: TextEvent, context: HookContext): Awaitable<string | void>
  /** A streamed reply is over, in whatever way. */
  onStreamEnd?(event: StreamEndEvent, context: HookContext): Awaitable<void>
  /** A request was answered. */
  onResponse?(event: ResponseEvent, context: HookContext): Awaitable<void>
  /** A request failed. */
  onError?(event: ErrorEvent, context: HookContext): Awaitable<void>
  /** Another provider was chosen than the one before. */
  onProviderSwitch?(event: ProviderSwitchEvent, context: HookContext): Awaitable<void>
  /** A plugin was loaded, reloaded, enabled, disabled or unloaded, or a new version tried, promoted or taken back. */
  onPluginLoad?(event: PluginLoadEvent, context: HookContext): Awaitable<void>
  onCacheEvent?(event: CacheEvent, context: HookContext): Awaitable<void>
  onMetric?(event: Metric, context: HookContext): Awaitable<void>
}

/** Characters of streamed text that are held back for `onText`. */
export const TEXT_WINDOW = 64

/** What is asked for, and what it is answered with. */
interface Operations {
  chat: { request: ChatRequest; response: ChatCompletion }
  embeddings: { request: EmbeddingRequest; response: EmbeddingResponse }
}
export type Operation = keyof Operations

/** What every event about one request carries. */
export interface CallEvent<O extends Operation = Operation> {
  /** `chat` for `/v1/chat/completions`, `embeddings` for `/v1/embeddings`. */
  readonly operation: O
  readonly requestId: string
  readonly traceId: string
  /** The generation of plugins that serves this request. */
  readonly generation: number
  /** The model the client asked for. */
  readonly model: string
  /** The provider: the one asked for in `onRequest`, the one that answered or failed afterwards. */
  readonly provider: string | undefined
  readonly stream: boolean
  readonly principal: Principal
  readonly userId: string | undefined
  /** Milliseconds since the epoch. */
  readonly startTime: number
  /** Attempts made so far; 0 in `onRequest`. */
  readonly attempt: number
  readonly metadata: Readonly<Record<string, unknown>>
}

/** Look at `operation` to know what kind of request it is. */
export type RequestEvent = { [O in Operation]: RequestEventOf<O> }[Operation]
export interface RequestEventOf<O extends Operation> extends CallEvent<O> {
  /** Parsed when first read, and frozen. */
  readonly request: DeepReadonly<Operations[O]["request"]>
  readonly headers: Headers
}

export interface RequestChange {
  /** Route as if the client had asked for this model. */
  readonly model?: string
  /** Route to this provider first. */
  readonly provider?: string
  /** Send this request instead; one of the same operation. */
  readonly request?: DeepReadonly<ChatRequest> | DeepReadonly<EmbeddingRequest>
  /** Merged into the call's metadata, which every later event carries. */
  readonly metadata?: Readonly<Record<string, unknown>>
}

export interface ChunkEvent extends CallEvent {
  readonly chunk: ChatCompletionChunk
  /** 0 for the first chunk. */
  readonly index: number
}

export interface TextEvent extends CallEvent {
  readonly text: string
  /** Which of the reply's choices. */
  readonly choice: number
  /** No more text follows for this choice. */
  readonly isFinal: boolean
}

export type StreamOutcome = "complete" | "client_closed" | "upstream_failed" | "rejected"

export interface StreamEndEvent extends CallEvent {
  readonly outcome: StreamOutcome
  readonly events: number
  readonly sizeBytes: number
  readonly durationMs: number
  readonly firstTokenMs: number | undefined
  readonly usage: Usage | undefined
}

/** Look at `operation` to know what kind of response it is. */
export type ResponseEvent = { [O in Operation]: ResponseEventOf<O> }[Operation]
export interface ResponseEventOf<O extends Operation> extends CallEvent<O> {
  /** What was sent, parsed when first read; undefined for a stream. */
  readonly response: DeepReadonly<Operations[O]["response"]> | undefined
  readonly responseStatus: number
  readonly durationMs: number
  readonly usage: Usage | undefined
  /** Prompt and completion together; undefined where the provider did not say. */
  readonly tokensUsed: number | undefined
  /** US dollars; undefined where the price is not known. */
  readonly costUsd: number | undefined
  readonly cacheHit: boolean
}

export interface ErrorEvent extends CallEvent {
  readonly error: GatewayError
  readonly errorType: GatewayError["kind"]
  readonly retryable: boolean
  readonly durationMs: number
}

export type SwitchReason =
  | "failover"
  | "load_balance"
  | "rate_limit"
  | "cost"
  | "performance"
  | "availability"

export interface ProviderSwitchEvent extends CallEvent {
  readonly fromProvider: string
  readonly toProvider: string
  readonly reason: SwitchReason
  readonly timestamp: number
}

export interface PluginLoadEvent {
  readonly plugin: string
  readonly version: string
  readonly type: PluginType
  /**
   * `canary_started`: this version serves a share of the requests, beside the one that serves the others.
   * `promoted`: it serves all of them. `rolled_back`: a newer version was taken back, and this one serves again.
   */
  readonly change:
    | "loaded"
    | "reloaded"
    | "enabled"
    | "disabled"
    | "unloaded"
    | "canary_started"
    | "promoted"
    | "rolled_back"
  readonly generation: number
  readonly timestamp: number
}

export interface CacheEvent {
  readonly plugin: string
  readonly eventType: "hit" | "miss" | "set" | "delete" | "evict"
  readonly key: string
  readonly sizeBytes?: number
  readonly ttlMs?: number
  readonly timestamp: number
}

export interface Metric {
  readonly name: string
  readonly value: number
  readonly type: "counter" | "gauge" | "histogram" | "timing"
  readonly unit?: string
  readonly tags?: Readonly<Record<string, string>>
}

/** The static type of a schema, as `setup` receives it. */
export type ConfigOf<S extends TObject> = StaticDecode<S>
export type { Static, TProperties }
