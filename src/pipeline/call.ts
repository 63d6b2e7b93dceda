import type { Clock } from "../clock.ts"
import type { CallEvent, Principal, ProviderCall, RequestChange, RouteRequest } from "../plugin/contract.ts"
import type { Snapshot } from "../plugin/snapshot.ts"
import type { ChatBody } from "../protocol/chat-body.ts"
import type { ChatRequest, DeepReadonly } from "../protocol/openai.ts"
import type { Candidate, Catalog } from "../routing/catalog.ts"
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
}

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
  readonly body: ChatBody
  /** When the request came, on the monotonic clock. */
  readonly startMs: number
}

/** One LLM request on its way through: what came in, what was decided, what it took. */
export class Call {
  /** As the client asked, or as an `onRequest` hook changed it. */
  model: string
  body: ChatBody
  preferredProvider: string | undefined
  candidate: Candidate | undefined
  attempts = 0
  /** Time spent waiting for providers until one answered. */
  upstreamMs = 0
  metadata: Readonly<Record<string, unknown>> = Object.freeze({})
  readonly stream: boolean
  readonly startMs: number
  readonly #startTime: number

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

  elapsedMs(): number {
    return this.deps.clock.monotonic() - this.startMs
  }

  /** What every event about this call carries; made only where somebody subscribes. */
  event(): CallEvent {
    const { requestId, traceId, snapshot, principal } = this.input
    return {
      requestId,
      traceId: traceId(),
      generation: snapshot.generation,
      model: this.model,
      provider: this.candidate?.provider.name ?? this.preferredProvider,
      stream: this.stream,
      principal,
      userId: principal.userId,
      startTime: this.#startTime,
      attempt: this.attempts,
      metadata: this.metadata,
    }
  }

  change({ model, provider, request, metadata }: RequestChange, replace: ReplaceBody): void {
    if (request !== undefined) {
      // How the client is answered was settled by its own request.
      this.body = replace({ ...request, stream: this.stream })
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
      model,
      provider: named !== undefined && this.input.catalog.providers.has(named) ? named : undefined,
      stream: this.stream,
      get messages() {
        return body.object().messages
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

/** What a provider is asked, read from the call when the provider looks. */
export class CallAttempt implements ProviderCall {
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

  get request(): DeepReadonly<ChatRequest> {
    const request = this.#call.body.object()
    return request.model === this.model ? request : { ...request, model: this.model }
  }

  get body(): Uint8Array<ArrayBuffer> {
    return this.#call.body.withModel(this.model)
  }
}

interface AttemptDetails {
  readonly candidate: Candidate
  readonly number: number
  readonly signal: AbortSignal
}

type ReplaceBody = (request: DeepReadonly<ChatRequest>) => ChatBody
