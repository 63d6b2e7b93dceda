import { GatewayError, messageOf } from "../errors.ts"
import type {
  Awaitable,
  ModelInfo,
  ProviderAbilities,
  ProviderCall,
  ProviderReply,
} from "../plugin/contract.ts"
import type { PluginInstance } from "../plugin/instance.ts"

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
    run: (fn) => fn(),
    estimateCost: abilities.estimateCost?.bind(abilities),
  }
}

/** A provider plugin, under the plugin's name. What it throws is attributed to it. */
export function pluginProvider(instance: PluginInstance<"provider">): RoutedProvider {
  const { abilities, name } = instance
  const chat = abilities.chat.bind(abilities)

  return {
    name,
    models: modelInfos(abilities.models),
    timeouts: DEFAULT_TIMEOUTS,
    run: (fn) => instance.run(fn),
    estimateCost: abilities.estimateCost?.bind(abilities),
    async chat(call) {
      if (instance.isOff && instance.breaker?.admits() === false) throw switchedOff(instance)
      const startMs = performance.now()
      const cut = Promise.withResolvers<never>()
      const forget = instance.onGone(cut.reject)
      // A plugin may ignore its signal; the attempt must end all the same.
      const abort = () => cut.reject(call.signal.reason)
      call.signal.addEventListener("abort", abort, { once: true })
      try {
        return await Promise.race([instance.run(chat, call), cut.promise])
      } catch (thrown) {
        throw attribute(thrown, call)
      } finally {
        forget()
        call.signal.removeEventListener("abort", abort)
        instance.called(performance.now() - startMs)
      }
    },
  }

  function attribute(thrown: unknown, call: ProviderCall): unknown {
    if (thrown instanceof GatewayError || call.signal.aborted) return thrown
    instance.failed(`chat: ${messageOf(thrown)}`, "error")
    return new GatewayError(
      "upstream_server_error",
      `provider plugin "${name}" failed in chat: ${messageOf(thrown)}`,
      { cause: thrown },
    )
  }
}

function switchedOff({ name, breaker }: PluginInstance): GatewayError {
  return new GatewayError(
    "upstream_server_error",
    `provider plugin "${name}" kept failing and is switched off for a while; its last error is at /admin/plugins/${name}`,
    { retryAfterMs: breaker?.restMs() ?? 0 },
  )
}

function modelInfos(models: ProviderAbilities["models"]): readonly ModelInfo[] {
  return models.map((model) => (typeof model === "string" ? { id: model } : model))
}
