/** What happens to a call: hooks, routing, attempts, reply. Every endpoint comes through here. */
import { GatewayError, toGatewayError } from "../errors.ts"
import type { Awaitable } from "../plugin/contract.ts"
import type { ChatCompletion, Usage } from "../protocol/openai.ts"
import { peekUsage } from "../protocol/usage.ts"
import { type AttemptOptions, attempt } from "../routing/attempts.ts"
import type { Candidate } from "../routing/catalog.ts"
import type { RoutedProvider } from "../routing/provider.ts"
import { route } from "../routing/route.ts"
import type { RoutingFacts } from "../routing/strategies.ts"
import { authorizeModel } from "./authorize.ts"
import { type Call, CallAttempt } from "./call.ts"
import { runRequestHooks } from "./request-hooks.ts"
import { settleAnswered, settleFailed } from "./settle.ts"
import { streamToClient } from "./stream.ts"
import { hookCompletion } from "./text-hooks.ts"

export type Reply =
  | { readonly kind: "plain"; readonly body: Uint8Array<ArrayBuffer> }
  | { readonly kind: "stream"; readonly body: ReadableStream<Uint8Array<ArrayBuffer>> }

/**
 * Answers a call, or fails it with its observers told.
 * @param onStreamEnd is called once for a streamed reply, when nothing more will be sent.
 */
export async function answer(call: Call, onStreamEnd: () => void): Promise<Reply> {
  try {
    if (call.input.snapshot.guards.length > 0) await authorizeModel(call)
    if (call.input.snapshot.hooks.onRequest.length > 0) await runRequestHooks(call)
    const routed = route(routeOptions(call))
    const candidates = routed instanceof Promise ? await routed : routed
    const answered = await attempt(attemptOptions(call, candidates))
    call.candidate = answered.candidate
    call.upstreamMs += answered.latencyMs
    call.deps.metrics.attemptAnswered(answered.candidate)
    call.deps.metrics.overhead(call.elapsedMs() - call.upstreamMs)
    const { reply } = answered
    if (reply.kind === "plain") return { kind: "plain", body: await plainToClient(call, reply.body) }
    call.deps.metrics.firstToken(answered.candidate, answered.latencyMs)
    call.deps.latency.record(answered.candidate.provider.name, answered.latencyMs)
    return { kind: "stream", body: streamToClient(call, { ...answered, reply }, onStreamEnd) }
  } catch (thrown) {
    const error = toGatewayError(thrown)
    settleFailed(call, error)
    throw error
  }
}

function plainToClient(call: Call, body: Uint8Array<ArrayBuffer>): Awaitable<Uint8Array<ArrayBuffer>> {
  if (call.input.snapshot.hooks.onText.length === 0) return settlePlain(call, body)
  return hookText(call, body).then((hooked) => settlePlain(call, hooked))
}

function settlePlain(call: Call, sent: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const usage: Usage | undefined = peekUsage(sent)
  let parsed: ChatCompletion | undefined
  settleAnswered(call, {
    usage,
    response: () => {
      parsed ??= parseCompletion(call, sent)
      return parsed
    },
  })
  return sent
}

async function hookText(call: Call, body: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const changed = await hookCompletion(call, parseCompletion(call, body))
  return changed === undefined ? body : new TextEncoder().encode(JSON.stringify(changed))
}

function parseCompletion(call: Call, body: Uint8Array): ChatCompletion {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as ChatCompletion
  } catch (cause) {
    throw new GatewayError(
      "upstream_invalid_reply",
      `provider "${call.candidate?.provider.name}" answered with malformed JSON`,
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
    makeRequest: () => call.routeRequest(),
  }
}

function factsOf(call: Call): RoutingFacts {
  return {
    costUsd: (candidate) => expectedCostUsd(call, candidate),
    latencyMs: (provider) => call.deps.latency.meanMs(provider),
  }
}

const BYTES_PER_TOKEN = 4
const EXPECTED_OUTPUT_TOKENS = 1000

/** By the provider's own estimate, else by the prices of the model and the size of the request. */
function expectedCostUsd(call: Call, { provider, info }: Candidate): number | undefined {
  const estimate = provider.estimateCost
  if (estimate !== undefined) return estimateBy(call, provider, estimate)
  if (info?.inputCostUsd === undefined || info.outputCostUsd === undefined) return undefined
  const inputTokens = call.body.bytes.byteLength / BYTES_PER_TOKEN
  return (inputTokens * info.inputCostUsd + EXPECTED_OUTPUT_TOKENS * info.outputCostUsd) / 1e6
}

function attemptOptions(call: Call, candidates: readonly Candidate[]): AttemptOptions {
  const { clock, metrics, log } = call.deps
  const { rules, signal, requestId, snapshot } = call.input
  return {
    clock,
    candidates,
    maxRetries: rules.maxRetries,
    failover: rules.failover,
    stream: call.stream,
    clientSignal: signal,
    makeCall: (made) => new CallAttempt(call, made),
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

/** A provider that cannot say what it costs ranks with those whose price is unknown. */
function estimateBy(
  { body, deps }: Call,
  provider: RoutedProvider,
  estimate: NonNullable<RoutedProvider["estimateCost"]>,
): number | undefined {
  try {
    return provider.run(() => estimate(body.object())) ?? undefined
  } catch (error) {
    deps.log.warn("a provider's estimateCost failed", { provider: provider.name, error })
    return undefined
  }
}
