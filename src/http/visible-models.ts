import { GatewayError } from "../errors.ts"
import { isAllowed } from "../plugin/guards.ts"
import type { Exchange } from "./exchange.ts"

/**
 * The models that the caller may use, where auth plugins say who may.
 * @throws GatewayError where a plugin cannot say
 */
export async function visibleModels<M extends { readonly id: string }>(
  { view, principal, request }: Exchange,
  models: readonly M[],
): Promise<readonly M[]> {
  const { guards } = view.snapshot
  if (guards.length === 0) return models
  const { signal } = request
  const visible = await Promise.all(
    models.map(async ({ id: resource }) => {
      try {
        return await isAllowed(guards, { principal, action: "model.use", resource, signal })
      } catch (thrown) {
        // A plugin may refuse by throwing; that hides one model, and does not fail the list.
        if (thrown instanceof GatewayError && thrown.kind === "auth") return false
        throw thrown
      }
    }),
  )
  return models.filter((_, index) => visible[index])
}
