import { GatewayError } from "../errors.ts"
import type { ProviderCall } from "../plugin/contract.ts"
import type { AttemptDeadline } from "./deadline.ts"
import type { RoutedProvider } from "./provider.ts"

/** What every attempt has, whatever is asked for. */
export type AttemptCall = Pick<ProviderCall, "model" | "signal">

/** What reading a provider's reply needs to know about the attempt. */
export interface AttemptContext<C extends AttemptCall = AttemptCall> {
  readonly provider: RoutedProvider
  readonly call: C
  readonly deadline: AttemptDeadline
  /** Aborts the attempt. */
  readonly abort: (reason: unknown) => void
}

export function invalidReply({ provider }: AttemptContext, what: string): GatewayError {
  return new GatewayError("upstream_invalid_reply", `provider "${provider.name}" ${what}`)
}

/** Why a read failed: the attempt was aborted, a GatewayError says it, or the connection broke. */
export function connectionLost({ provider, call }: AttemptContext, thrown: unknown): unknown {
  if (call.signal.aborted) return call.signal.reason
  if (thrown instanceof GatewayError) return thrown
  return new GatewayError(
    "upstream_connection_lost",
    `provider "${provider.name}" closed the connection in the middle of its answer`,
    { cause: thrown },
  )
}
