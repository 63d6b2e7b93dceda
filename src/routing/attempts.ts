/** Tries a call at one provider after the other until one answers. */
import type { Clock } from "../clock.ts"
import { GatewayError, toGatewayError } from "../errors.ts"
import type { ProviderCall, SwitchReason } from "../plugin/contract.ts"
import { canFailOver } from "../protocol/upstream-error.ts"
import type { AttemptCall } from "./attempt-context.ts"
import type { Candidate } from "./catalog.ts"
import { clientLeft } from "./client-left.ts"
import { AttemptDeadline } from "./deadline.ts"
import type { ProviderOperation } from "./operation.ts"
import type { UpstreamReply } from "./reply.ts"

export interface AttemptOptions<C extends AttemptCall = ProviderCall> {
  readonly operation: ProviderOperation<C>
  readonly clock: Clock
  readonly candidates: readonly Candidate[]
  /** Attempts after the first one. */
  readonly maxRetries: number
  readonly failover: "enabled" | "disabled"
  readonly stream: boolean
  readonly clientSignal: AbortSignal
  readonly makeCall: (attempt: { candidate: Candidate; number: number; signal: AbortSignal }) => C
  readonly onAttempt: (attempt: { candidate: Candidate; number: number }) => void
  readonly onFailure: (attempt: FailedAttempt) => void
  readonly onSwitch: (change: { from: Candidate; to: Candidate; reason: SwitchReason }) => void
}

interface FailedAttempt {
  readonly candidate: Candidate
  readonly number: number
  readonly error: GatewayError
  readonly durationMs: number
}

export interface Answer {
  readonly candidate: Candidate
  readonly reply: UpstreamReply
  /** How long the provider took until its reply was whole, or its stream had begun. */
  readonly latencyMs: number
  /** Stops the clocks of the attempt. For a stream: when it is over. */
  readonly release: () => void
}

interface Failure {
  readonly candidate: Candidate
  readonly error: GatewayError
}

/**
 * @throws GatewayError the provider's own error where only one was tried, `all_providers_failed` with each
 * one's reason where several were, `client_closed_request` when the client left.
 */
export async function attempt<C extends AttemptCall>(options: AttemptOptions<C>): Promise<Answer> {
  const queue = options.failover === "enabled" ? [...options.candidates] : options.candidates.slice(0, 1)
  const failures: Failure[] = []

  for (let number = 1; number <= options.maxRetries + 1; number++) {
    const candidate = queue.shift()
    if (candidate === undefined) break
    if (failures.length > 0) await backOff(options, candidate, failures)
    announce(options, failures.at(-1), candidate)
    const startMs = options.clock.monotonic()
    options.onAttempt({ candidate, number })
    try {
      return await attemptOnce(options, { candidate, number, startMs })
    } catch (thrown) {
      if (options.clientSignal.aborted) throw clientLeft()
      const error = toGatewayError(thrown)
      options.onFailure({ candidate, number, error, durationMs: options.clock.monotonic() - startMs })
      failures.push({ candidate, error })
      if (!canFailOver(error)) break
      if (isWorthRetrying(error)) queue.push(candidate)
    }
  }
  throw verdict(failures)
}

interface Attempt {
  readonly candidate: Candidate
  readonly number: number
  readonly startMs: number
}

async function attemptOnce<C extends AttemptCall>(
  options: AttemptOptions<C>,
  { candidate, number, startMs }: Attempt,
): Promise<Answer> {
  const { clock, clientSignal, stream, operation } = options
  const { provider } = candidate
  if (clientSignal.aborted) throw clientLeft()
  const controller = new AbortController()
  const abort = (reason: unknown) => controller.abort(reason)
  const leave = () => controller.abort(clientLeft())
  const deadline = new AttemptDeadline({
    clock,
    startMs,
    provider: provider.name,
    timeouts: provider.timeouts,
    awaits: stream ? "first_token" : "total",
    abort,
  })
  clientSignal.addEventListener("abort", leave, { once: true })

  try {
    const call = options.makeCall({ candidate, number, signal: controller.signal })
    const reply = await operation.receive(await operation.ask(provider, call), {
      provider,
      call,
      deadline,
      abort,
    })
    if (reply.kind === "plain") release()
    return { candidate, reply, latencyMs: clock.monotonic() - startMs, release }
  } catch (thrown) {
    release()
    throw controller.signal.aborted ? (controller.signal.reason ?? thrown) : thrown
  }

  function release(): void {
    deadline.clear()
    clientSignal.removeEventListener("abort", leave)
  }
}

function announce(
  { onSwitch }: Pick<AttemptOptions, "onSwitch">,
  last: Failure | undefined,
  to: Candidate,
): void {
  if (last === undefined || last.candidate.provider === to.provider) return
  onSwitch({ from: last.candidate, to, reason: REASONS[last.error.kind] })
}

const REASONS = {
  network: "availability",
  timeout: "performance",
  rate_limit: "rate_limit",
  auth: "failover",
  invalid_input: "failover",
  server_error: "failover",
  unknown: "failover",
} as const satisfies Record<GatewayError["kind"], SwitchReason>

const BACK_OFF_MS = 100
const MAX_BACK_OFF_MS = 10_000
/** A provider that asks for a longer pause is left alone; its `retry-after` reaches the client. */
const MAX_ASKED_PAUSE_MS = 2000

/** Another provider is tried at once; the same one again after a pause that doubles each time. */
async function backOff(
  { clock, clientSignal }: Pick<AttemptOptions, "clock" | "clientSignal">,
  candidate: Candidate,
  failures: readonly Failure[],
): Promise<void> {
  const earlier = failures.filter((failure) => failure.candidate === candidate)
  const last = earlier.at(-1)
  if (last === undefined) return
  const doubled = Math.min(MAX_BACK_OFF_MS, BACK_OFF_MS * 2 ** (earlier.length - 1))
  const jittered = doubled * (0.9 + Math.random() * 0.2)
  await clock.sleep(Math.max(jittered, last.error.retryAfterMs ?? 0), clientSignal).catch(() => {
    throw clientLeft()
  })
}

/** Not one that refuses the gateway's key or does not know the model: it will say the same again. */
function isWorthRetrying(error: GatewayError): boolean {
  return error.retryable && (error.retryAfterMs ?? 0) <= MAX_ASKED_PAUSE_MS
}

function verdict(failures: readonly Failure[]): GatewayError {
  const last = failures.at(-1)
  if (last === undefined) return new GatewayError("no_provider_available", "no provider is left to try")
  const providers = new Set(failures.map(({ candidate }) => candidate))
  if (providers.size === 1 || !canFailOver(last.error)) return last.error
  const reasons = failures.map(({ candidate, error }) => ({
    provider: candidate.provider.name,
    model: candidate.model,
    code: error.code,
    message: error.message,
  }))
  return new GatewayError(
    "all_providers_failed",
    `all ${providers.size} providers of this model failed; the last: ${last.error.message}`,
    {
      status: last.error.status,
      cause: last.error,
      details: { failure_reasons: reasons },
      ...retryAfter(failures),
    },
  )
}

function retryAfter(failures: readonly Failure[]): { retryAfterMs?: number } {
  const pauses = failures.flatMap(({ error }) => error.retryAfterMs ?? [])
  return pauses.length > 0 ? { retryAfterMs: Math.min(...pauses) } : {}
}
