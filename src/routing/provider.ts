import { GatewayError, messageOf } from "../errors.ts"
import type {
  Awaitable,
  EmbedCall,
  EmbedReply,
  ModelInfo,
  ProviderAbilities,
  ProviderCall,
  ProviderReply,
} from "../plugin/contract.ts"
import type { PluginInstance } from "../plugin/instance.ts"
import type { PointBook } from "../plugin/point.ts"
import type { AttemptCall } from "./attempt-context.ts"
import { guarded } from "./guarded-call.ts"

export interface ProviderTimeouts {
  readonly firstTokenMs: number
  readonly betweenChunksMs: number
  readonly totalMs: number
}

/** A provider as routing sees it, whether it comes from the configuration or from a plugin. */
export interface RoutedProvider {
  readonly name: string
  readonly models: readonly ModelInfo[]
  readonly timeouts: ProviderTimeouts
  chat(call: ProviderCall): Awaitable<ProviderReply>
  /** None where the provider has no embeddings. */
  readonly embed: ((call: EmbedCall) => Awaitable<EmbedReply>) | undefined
  /** Enters the provider's own context: the plugin's module graph, or nothing. */
  run<T>(fn: () => T): T
  estimateCost: ProviderAbilities["estimateCost"] | undefined
}

export const DEFAULT_TIMEOUTS: ProviderTimeouts = {
  firstTokenMs: 30_000,
  betweenChunksMs: 30_000,
  totalMs: 600_000,
}

/** A provider from the configuration. */
export function configuredProvider(
  name: string,
  abilities: ProviderAbilities,
  timeouts: ProviderTimeouts,
): RoutedProvider {
  return {
    name,
    models: modelInfos(abilities.models),
    timeouts,
    chat: (call) => abilities.chat(call),
    embed: abilities.embed?.bind(abilities),
    run: (fn) => fn(),
    estimateCost: abilities.estimateCost?.bind(abilities),
  }
}

interface PluginProviderOptions {
  readonly points: PointBook
  /** As it lists them now, where that is known. */
  readonly models: readonly ModelInfo[] | undefined
}

/** A provider plugin, under the plugin's name. What it throws is attributed to it. */
export function pluginProvider(
  instance: PluginInstance<"provider">,
  { points, models }: PluginProviderOptions,
): RoutedProvider {
  const { abilities, name } = instance
  const { embed } = abilities

  return {
    name,
    models: models ?? modelInfos(abilities.models),
    timeouts: DEFAULT_TIMEOUTS,
    chat: guard("chat", abilities.chat),
    embed: embed && guard("embed", embed),
    run: (fn) => instance.run(fn),
    estimateCost: abilities.estimateCost?.bind(abilities),
  }

  function guard<C extends AttemptCall, R>(
    ability: "chat" | "embed",
    fn: (call: C) => Awaitable<R>,
  ): (call: C) => Promise<R> {
    return guarded({
      instance,
      point: `provider.${ability}`,
      fn: fn.bind(abilities),
      points,
      admits: () => instance.breaker?.admits() ?? true,
      onThrow: (thrown, { signal }) =>
        thrown instanceof GatewayError || signal.aborted ? thrown : failed(ability, thrown),
    })
  }

  function failed(ability: string, thrown: unknown): GatewayError {
    instance.failed(`${ability}: ${messageOf(thrown)}`, "error")
    return new GatewayError(
      "upstream_server_error",
      `provider plugin "${name}" failed in ${ability}: ${messageOf(thrown)}`,
      { cause: thrown },
    )
  }
}

export function modelInfos(models: ProviderAbilities["models"]): readonly ModelInfo[] {
  return models.map((model) => (typeof model === "string" ? { id: model } : model))
}
