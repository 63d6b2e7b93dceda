import type { Clock } from "../clock.ts"
import type { Awaitable } from "./contract.ts"

interface TimeLimit {
  readonly clock: Clock
  readonly ms: number
  /** Cuts the wait too; its reason is thrown. */
  readonly signal?: AbortSignal | undefined
  readonly makeError: () => unknown
}

/** What `pending` gives, unless the limit passes first. The work itself goes on: nothing here can stop it. */
export async function withinLimit<T>(
  pending: Awaitable<T>,
  { clock, ms, signal, makeError }: TimeLimit,
): Promise<T> {
  const cut = Promise.withResolvers<never>()
  const abort = () => cut.reject(signal?.reason)
  const cancel = clock.after(ms, () => cut.reject(makeError()))
  if (signal?.aborted) abort()
  else signal?.addEventListener("abort", abort, { once: true })
  try {
    return await Promise.race([pending, cut.promise])
  } finally {
    cancel()
    signal?.removeEventListener("abort", abort)
  }
}
