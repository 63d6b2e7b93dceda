import type { RequestEvent } from "../plugin/contract.ts"
import { CallContext } from "../plugin/point.ts"
import type { Call } from "./call.ts"

/**
 * Runs the `onRequest` hooks one after another; each sees what the ones before it changed.
 * @throws GatewayError with which a hook rejected the call
 */
export async function runRequestHooks(call: Call): Promise<void> {
  const { snapshot, headers, signal } = call.input
  for (const hook of snapshot.hooks.onRequest) {
    const { body } = call
    const event = {
      ...call.event(),
      headers,
      get request() {
        return body.object()
      },
      // The operation of the call is that of its body.
    } as RequestEvent
    const change = await hook.call(event, new CallContext(signal))
    if (change) call.change(change)
  }
}
