/** Asks the auth plugins whether somebody may do something. All must agree; one that fails has not. */
import type { AuthorizePoint } from "./bindings.ts"
import type { Awaitable, Principal } from "./contract.ts"
import { CallContext, isPromise } from "./point.ts"

export interface Wish {
  readonly principal: Principal
  readonly action: "model.use" | "admin.read" | "admin.write"
  readonly resource: string
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal
}

/**
 * @returns a promise only where a plugin gives one
 * @throws GatewayError the plugin's own refusal, or `plugin_failed` / `plugin_timeout`
 */
export function isAllowed(guards: readonly AuthorizePoint[], wish: Wish): Awaitable<boolean> {
  const { principal, action, resource, signal } = wish
  for (const [index, guard] of guards.entries()) {
    const answer = guard.call(principal, action, resource, new CallContext(signal))
    if (isPromise(answer)) {
      return answer.then((agrees) => agrees === true && isAllowed(guards.slice(index + 1), wish))
    }
    if (answer !== true) return false
  }
  return true
}
