import type { ProviderConfig } from "./config/schema.ts"
import type { ModelInfo } from "./plugin/contract.ts"
import { configuredProvider, type RoutedProvider } from "./routing/provider.ts"
import { createOpenAiProvider } from "./upstream/openai.ts"
import type { Transport } from "./upstream/transport.ts"

/** A provider of the configuration, as routing sees it. */
export function openAiProvider(
  config: ProviderConfig,
  { transport, version }: { readonly transport: Transport; readonly version: string },
): RoutedProvider {
  const { name, base_url: baseUrl, api_key: apiKey, headers, timeout } = config
  const abilities = createOpenAiProvider({
    config: {
      name,
      baseUrl,
      apiKey,
      headers,
      models: config.models.map(modelInfo),
      connectTimeoutMs: timeout.connect,
    },
    transport,
    version,
  })
  return configuredProvider(name, abilities, {
    firstTokenMs: timeout.first_token,
    betweenChunksMs: timeout.between_chunks,
    totalMs: timeout.total,
  })
}

function modelInfo(model: ProviderConfig["models"][number]): string | ModelInfo {
  if (typeof model === "string") return model
  const { id, context_length, input_cost, output_cost, quality } = model
  return {
    id,
    ...(context_length !== undefined && { contextLength: context_length }),
    ...(input_cost !== undefined && { inputCostUsd: input_cost }),
    ...(output_cost !== undefined && { outputCostUsd: output_cost }),
    ...(quality !== undefined && { quality }),
  }
}
