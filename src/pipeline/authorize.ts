import { GatewayError } from "../errors.ts"
import { isAllowed } from "../plugin/guards.ts"
import type { Call } from "./call.ts"

/**
 * Asks the auth plugins about the model as the client named it, before a hook may choose another.
 * @throws GatewayError `forbidden`, or why a plugin could not say
 */
export async function authorizeModel(call: Call): Promise<void> {
  const { snapshot, principal, signal } = call.input
  const resource = call.model
  if (await isAllowed(snapshot.guards, { principal, action: "model.use", resource, signal })) return
  throw new GatewayError("forbidden", `"${principal.name}" may not use the model "${resource}"`, {
    param: "model",
  })
}
