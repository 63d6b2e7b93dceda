/** What happens to a call: hooks, transforms, cache, routing, attempts, reply. Every endpoint comes through here. */
import { GatewayError, toGatewayError } from "../errors.ts"
import type { Awaitable, EmbedCall, ProviderCall } from "../plugin/contract.ts"
import type { CacheEntry } from "../protocol/cache-entry.ts"
import type {
  ChatCompletion,
  ChatRequest,
  DeepReadonly,
  EmbeddingRequest,
  EmbeddingResponse,
  Usage,
} from "../protocol/openai.ts"
import { peekUsage } from "../protocol/usage.ts"
import type { AttemptCall } from "../routing/attempt-context.ts"
import { type Answer, type AttemptOptions, attempt } from "../routing/attempts.ts"
import type { Candidate } from "../routing/catalog.ts"
import { CHAT, EMBEDDINGS, type ProviderOperation } from "../routing/operation.ts"
import { route } from "../routing/route.ts"
import { authorizeModel } from "./authorize.ts"
import { replayStream } from "./cached-stream.ts"
import { type AttemptDetails, type Call, CallAttempt } from "./call.ts"
import { ReplyCache } from "./reply-cache.ts"
import { runRequestHooks } from "./request-hooks.ts"
import { factsOf } from "./routing-facts.ts"
import { settleAnswered, settleFailed } from "./settle.ts"
import { type BegunStream, streamToClient } from "./stream.ts"
import { hookCompletion } from "./text-hooks.ts"
import { transformCompletion, transformRequest } from "./transforms.ts"

export type Reply = {
  /** Beside those that every reply of its kind has. */
  readonly headers: Readonly<Record<string, string>> | undefined
} & (
  | { readonly kind: "plain"; readonly body: Uint8Array<ArrayBuffer> }
  | { readonly kind: "stream"; readonly body: ReadableStream<Uint8Array<ArrayBuffer>> }
)

/**
 * Answers a call, or fails it with its observers told.
 * @param onStreamEnd is called once for a streamed reply, when nothing more will be sent.
 */
export async function answer(call: Call, onStreamEnd: () => void): Promise<Reply> {
  try {
    const { guards, hooks, transforms } = call.input.snapshot
    if (guards.length > 0) await authorizeModel(call)
    if (hooks.onRequest.length > 0) await runRequestHooks(call)
    if (transforms.request.length + transforms.embeddingRequest.length > 0) await transformRequest(call)
    const cache = ReplyCache.of(call)
    const cached = cache && (await cache.look())
    if (cached !== undefined) return await answerFrom(cached, { call, headers: cache?.headers, onStreamEnd })

    const routed = route(routeOptions(call))
    const candidates = routed instanceof Promise ? await routed : routed
    const answered = await ask(call, candidates)
    call.candidate = answered.candidate
    call.upstreamMs += answered.latencyMs
    call.deps.metrics.attemptAnswered(answered.candidate)
    call.deps.metrics.overhead(call.elapsedMs() - call.upstreamMs)
    const { reply } = answered
    const headers = cache?.headers
    if (reply.kind === "plain") {
      const body = await plainToClient(call, reply.body)
      cache?.keep(reply.body)
      return { kind: "plain", headers, body }
    }
    call.deps.metrics.firstToken(answered.candidate, answered.latencyMs)
    call.deps.latency.record(answered.candidate.provider.name, answered.latencyMs)
    const begun = { ...answered, reply }
    if (cache === undefined)
      return { kind: "stream", headers, body: streamToClient(call, begun, onStreamEnd) }
    return { kind: "stream", headers, body: recordedStream(cache, { call, begun, onStreamEnd }) }
  } catch (thrown) {
    const error = toGatewayError(thrown)
    settleFailed(call, error)
    throw error
  }
}

/** All that the operations differ in between routing and reply. */
interface Asking<C extends AttemptCall> {
  readonly operation: ProviderOperation<C>
  makeCall(call: Call, made: AttemptDetails): C
}

const FOR_CHAT: Asking<ProviderCall> = {
  operation: CHAT,
  makeCall: (call, made) => new CallAttempt<ChatRequest>(call, made),
}
const FOR_EMBEDDINGS: Asking<EmbedCall> = {
  operation: EMBEDDINGS,
  makeCall: (call, made) => new CallAttempt<EmbeddingRequest>(call, made),
}

function ask(call: Call, candidates: readonly Candidate[]): Promise<Answer> {
  return call.operation === "chat"
    ? attempt(attemptOptions(call, candidates, FOR_CHAT))
    : attempt(attemptOptions(call, candidates, FOR_EMBEDDINGS))
}

interface FromCache {
  readonly call: Call
  readonly headers: Reply["headers"]
  readonly onStreamEnd: () => void
}

/** No provider is asked; what it said then takes the same way out. */
async function answerFrom(entry: CacheEntry, { call, headers, onStreamEnd }: FromCache): Promise<Reply> {
  call.deps.metrics.overhead(call.elapsedMs())
  if (entry.kind === "plain") return { kind: "plain", headers, body: await plainToClient(call, entry.body) }
  const begun = { reply: replayStream(entry), latencyMs: undefined, release() {} }
  return { kind: "stream", headers, body: streamToClient(call, begun, onStreamEnd) }
}

interface IntoCache {
  readonly call: Call
  readonly begun: BegunStream
  readonly onStreamEnd: () => void
}

function recordedStream(cache: ReplyCache, { call, begun, onStreamEnd }: IntoCache) {
  const { reply, onEnd } = cache.record(begun.reply)
  return streamToClient(call, { ...begun, reply }, (outcome) => {
    onEnd(outcome)
    onStreamEnd()
  })
}

function plainToClient(call: Call, body: Uint8Array<ArrayBuffer>): Awaitable<Uint8Array<ArrayBuffer>> {
  const { hooks, transforms } = call.input.snapshot
  const isChanged = hooks.onText.length > 0 || transforms.response.length > 0
  if (!isChanged || call.operation !== "chat") return settlePlain(call, body)
  return changePlain(call, body).then((changed) => settlePlain(call, changed))
}

function settlePlain(call: Call, sent: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const usage: Usage | undefined = peekUsage(sent)
  let parsed: DeepReadonly<ChatCompletion | EmbeddingResponse> | undefined
  settleAnswered(call, {
    usage,
    response: () => {
      parsed ??= parseReply<ChatCompletion | EmbeddingResponse>(call, sent)
      return parsed
    },
  })
  return sent
}

async function changePlain(call: Call, body: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const completion = parseReply<ChatCompletion>(call, body)
  const transformed = await transformCompletion(call, completion)
  const changed = (await hookCompletion(call, transformed ?? completion)) ?? transformed
  return changed === undefined ? body : new TextEncoder().encode(JSON.stringify(changed))
}

function parseReply<T>(call: Call, body: Uint8Array): T {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as T
  } catch (cause) {
    throw new GatewayError(
      "upstream_invalid_reply",
      `provider "${call.answeredBy}" answered with malformed JSON`,
      { cause },
    )
  }
}

function routeOptions(call: Call) {
  const { snapshot, catalog, rules } = call.input
  return {
    snapshot,
    catalog,
    model: call.model,
    preferred: call.preferredProvider,
    strategy: rules.strategy,
    facts: factsOf(call),
    operation: call.operation,
    health: call.deps.health,
    makeRequest: () => call.routeRequest(),
  }
}

function attemptOptions<C extends AttemptCall>(
  call: Call,
  candidates: readonly Candidate[],
  { operation, makeCall }: Asking<C>,
): AttemptOptions<C> {
  const { clock, metrics, log } = call.deps
  const { rules, signal, requestId, snapshot } = call.input
  return {
    operation,
    clock,
    candidates,
    maxRetries: rules.maxRetries,
    failover: rules.failover,
    stream: call.stream,
    clientSignal: signal,
    makeCall: (made) => makeCall(call, made),
    onAttempt({ candidate, number }) {
      call.attempts = number
      call.candidate = candidate
    },
    onFailure({ candidate, number, error, durationMs }) {
      call.upstreamMs += durationMs
      metrics.attemptFailed(candidate, error.code, durationMs)
      log.debug("an attempt failed", {
        request_id: requestId,
        provider: candidate.provider.name,
        model: candidate.model,
        attempt: number,
        code: error.code,
        error,
      })
    },
    onSwitch({ from, to, reason }) {
      const fromProvider = from.provider.name
      const toProvider = to.provider.name
      metrics.switched(fromProvider, toProvider, reason)
      log.info("switched provider", { request_id: requestId, from: fromProvider, to: toProvider, reason })
      snapshot.observe("onProviderSwitch", () => ({
        ...call.event(),
        fromProvider,
        toProvider,
        reason,
        timestamp: clock.now(),
      }))
    },
  }
}
