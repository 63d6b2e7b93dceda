/** What routing wants to know of a call's candidates: what each would cost, and how long it takes. */
import type { Candidate } from "../routing/catalog.ts"
import type { RoutedProvider } from "../routing/provider.ts"
import type { RoutingFacts } from "../routing/strategies.ts"
import type { Call, CallDeps } from "./call.ts"

export function factsOf(call: Call): RoutingFacts {
  return {
    costUsd: (candidate) => expectedCostUsd(call, candidate),
    latencyMs: (provider) => call.deps.latency.meanMs(provider),
  }
}

const BYTES_PER_TOKEN = 4
const EXPECTED_OUTPUT_TOKENS = 1000

/** By the provider's own estimate, else by the prices of the model and the size of the request. */
function expectedCostUsd({ body, deps }: Call, { provider, info }: Candidate): number | undefined {
  const inputTokens = body.bytes.byteLength / BYTES_PER_TOKEN
  if (body.operation === "embeddings") {
    return info?.inputCostUsd === undefined ? undefined : (inputTokens * info.inputCostUsd) / 1e6
  }
  const estimate = provider.estimateCost
  if (estimate !== undefined) return estimated(deps, provider, () => estimate(body.object()))
  if (info?.inputCostUsd === undefined || info.outputCostUsd === undefined) return undefined
  return (inputTokens * info.inputCostUsd + EXPECTED_OUTPUT_TOKENS * info.outputCostUsd) / 1e6
}

/** A provider that cannot say what it costs ranks with those whose price is unknown. */
function estimated(
  { log }: CallDeps,
  provider: RoutedProvider,
  estimate: () => number | null,
): number | undefined {
  try {
    return provider.run(estimate) ?? undefined
  } catch (error) {
    log.warn("a provider's estimateCost failed", { provider: provider.name, error })
    return undefined
  }
}
