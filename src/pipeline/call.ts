import type { Clock } from "../clock.ts"
import type {
  CacheEvent,
  CallEvent,
  Operation,
  Principal,
  RequestChange,
  RouteRequest,
} from "../plugin/contract.ts"
import type { Snapshot } from "../plugin/snapshot.ts"
import type { ChatBody } from "../protocol/chat-body.ts"
import type { EmbeddingBody } from "../protocol/embedding-body.ts"
import type { ChatRequest, DeepReadonly, EmbeddingRequest } from "../protocol/openai.ts"
import type { Candidate, Catalog } from "../routing/catalog.ts"
import type { ProviderHealth } from "../routing/health.ts"
import type { LatencyBook } from "../routing/latency.ts"
import type { Strategy } from "../routing/strategies.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { CallMetrics } from "./call-metrics.ts"

export interface RoutingRules {
  readonly strategy: Strategy
  readonly failover: "enabled" | "disabled"
  readonly maxRetries: number
}

export interface CallDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: CallMetrics
  readonly latency: LatencyBook
  readonly health: ProviderHealth
  /** Tells the observers of `onCacheEvent`. */
  cacheEvent(event: CacheEvent): void
}

/** What came in, by endpoint; `operation` tells them apart. */
export type RequestBody = ChatBody | EmbeddingBody

export interface CallInput {
  readonly requestId: string
  readonly traceId: () => string
  readonly snapshot: Snapshot
  readonly catalog: Catalog
  readonly rules: RoutingRules
  readonly headers: Headers
  readonly principal: Principal
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal
  readonly body: RequestBody
  /** When the request came, on the monotonic clock. */
  readonly startMs: number
}

const NO_METADATA = Object.freeze({})

/** One LLM request on its way through: what came in, what was decided, what it took. */
export class Call {
  /** As the client asked, or as an `onRequest` hook changed it. */
  model: string
  body: RequestBody
  preferredProvider: string | undefined
  candidate: Candidate | undefined
  /** Who answered originally, where the reply comes from a cache. */
  cachedFrom: string | undefined
  attempts = 0
  /** Time spent waiting for providers until one answered. */
  upstreamMs = 0
  metadata: Readonly<Record<string, unknown>> = NO_METADATA
  readonly stream: boolean
  readonly startMs: number
  readonly #startTime: number
  #values: Map<string, unknown> | undefined

  constructor(
    readonly input: CallInput,
    readonly deps: CallDeps,
  ) {
    this.body = input.body
    this.model = input.body.model
    this.stream = input.body.stream
    this.startMs = input.startMs
    this.#startTime = deps.clock.now()
  }

  /** Stays what it was: a request is only replaced by one of the same kind. */
  get operation(): Operation {
    return this.body.operation
  }

  /** What the transforms of this call share. */
  get values(): Map<string, unknown> {
    this.#values ??= new Map()
    return this.#values
  }

  /** The provider that answered, was tried last, or answered what a cache kept. */
  get answeredBy(): string | undefined {
    return this.cachedFrom ?? this.candidate?.provider.name
  }

  elapsedMs(): number {
    return this.deps.clock.monotonic() - this.startMs
  }

  /** What every event about this call carries; made only where somebody subscribes. */
  event(): CallEvent {
    const { requestId, traceId, snapshot, principal } = this.input
    return {
      operation: this.operation,
      requestId,
      traceId: traceId(),
      generation: snapshot.generation,
      model: this.model,
      provider: this.answeredBy ?? this.preferredProvider,
      stream: this.stream,
      principal,
      userId: principal.userId,
      startTime: this.#startTime,
      attempt: this.attempts,
      metadata: this.metadata,
    }
  }

  /** @throws GatewayError `invalid_request` where the new request is not valid */
  change({ model, provider, request, metadata }: RequestChange): void {
    if (request !== undefined) {
      this.body = this.body.replacedBy(request)
      this.model = this.body.model
    }
    if (model !== undefined) this.model = model
    if (provider !== undefined) this.preferredProvider = provider
    if (metadata !== undefined) this.metadata = Object.freeze({ ...this.metadata, ...metadata })
  }

  routeRequest(): RouteRequest {
    const { requestId, headers, principal, signal } = this.input
    const { body, model } = this
    const slash = model.indexOf("/")
    const named = slash > 0 ? model.slice(0, slash) : undefined
    return {
      requestId,
      operation: this.operation,
      model,
      provider: named !== undefined && this.input.catalog.providers.has(named) ? named : undefined,
      stream: this.stream,
      get messages() {
        return body.operation === "chat" ? body.object().messages : []
      },
      bodyBytes: body.bytes.byteLength,
      headers,
      metadata: this.metadata,
      principal,
      userId: principal.userId,
      signal,
    }
  }
}

/** What a provider is asked, read from the call when the provider looks: a `ProviderCall` or an `EmbedCall`. */
export class CallAttempt<R extends ChatRequest | EmbeddingRequest> {
  readonly requestId: string
  readonly model: string
  readonly stream: boolean
  readonly attempt: number
  readonly signal: AbortSignal
  readonly #call: Call

  constructor(call: Call, { candidate, number, signal }: AttemptDetails) {
    this.requestId = call.input.requestId
    this.model = candidate.model
    this.stream = call.stream
    this.attempt = number
    this.signal = signal
    this.#call = call
  }

  get traceId(): string {
    return this.#call.input.traceId()
  }

  get request(): DeepReadonly<R> {
    const request = this.#call.body.object()
    // The call's operation says which of the two it is; whoever makes the attempt has looked.
    return (request.model === this.model
      ? request
      : { ...request, model: this.model }) as unknown as DeepReadonly<R>
  }

  get body(): Uint8Array<ArrayBuffer> {
    return this.#call.body.withModel(this.model)
  }
}

export interface AttemptDetails {
  readonly candidate: Candidate
  readonly number: number
  readonly signal: AbortSignal
}
