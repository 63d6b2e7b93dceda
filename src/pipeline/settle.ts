/**
 * The end of a call, told once: metrics and observers. It happens when the last byte was handed over, the
 * client left, or the call failed; not when the handler returned.
 */
import type { GatewayError } from "../errors.ts"
import type { ResponseEvent, StreamOutcome } from "../plugin/contract.ts"
import type { ChatCompletion, DeepReadonly, EmbeddingResponse, Usage } from "../protocol/openai.ts"
import { clientLeft } from "../routing/client-left.ts"
import type { Call } from "./call.ts"

interface AnsweredCall {
  /** Parsed when an observer reads it; none for a stream. */
  readonly response: (() => DeepReadonly<ChatCompletion | EmbeddingResponse>) | undefined
  readonly usage: Usage | undefined
}

export function settleAnswered(call: Call, { response, usage }: AnsweredCall): void {
  const durationMs = call.elapsedMs()
  if (call.candidate !== undefined) call.deps.metrics.answered(call.candidate, durationMs, usage)

  call.input.snapshot.observe("onResponse", () => {
    const event = {
      ...call.event(),
      responseStatus: 200,
      durationMs,
      usage,
      tokensUsed: usage?.total_tokens,
      costUsd: undefined,
      cacheHit: call.cachedFrom !== undefined,
    }
    // Defined afterwards: a spread beside a getter costs ten times as much.
    Object.defineProperty(event, "response", { enumerable: true, get: () => response?.() })
    // The response is of the call's operation.
    return event as object as ResponseEvent
  })
  if (call.cachedFrom !== undefined) return
  call.input.snapshot.observe("onMetric", () => ({
    name: "gen_ai.client.operation.duration",
    value: durationMs / 1000,
    type: "histogram",
    unit: "s",
    tags: { provider: call.candidate?.provider.name ?? "", model: call.model },
  }))
}

export function settleFailed(call: Call, error: GatewayError): void {
  const durationMs = call.elapsedMs()
  call.input.snapshot.observe("onError", () => ({
    ...call.event(),
    error,
    errorType: error.kind,
    retryable: error.retryable,
    durationMs,
  }))
}

interface EndedStream {
  readonly outcome: StreamOutcome
  readonly events: number
  readonly sizeBytes: number
  /** None where the stream came from a cache. */
  readonly firstTokenMs: number | undefined
  readonly usage: Usage | undefined
  readonly error: GatewayError | undefined
}

export function settleStream(call: Call, { error, ...end }: EndedStream): void {
  const durationMs = call.elapsedMs()
  call.deps.metrics.activeStreams.add(-1)
  call.deps.metrics.streamEnded(end.outcome)
  call.input.snapshot.observe("onStreamEnd", () => ({ ...call.event(), ...end, durationMs }))
  if (end.outcome === "complete") settleAnswered(call, { response: undefined, usage: end.usage })
  else settleFailed(call, error ?? clientLeft("in mid-stream"))
}
