/** The providers of a gateway: those of the configuration, or those that are found without one, and those of plugins. */
import { discoverOllama, discoverProviders } from "./config/discover.ts"
import type { Config } from "./config/schema.ts"
import type { ModelInfo } from "./plugin/contract.ts"
import type { PointBook } from "./plugin/point.ts"
import type { Snapshot } from "./plugin/snapshot.ts"
import { pluginProvider, type RoutedProvider } from "./routing/provider.ts"
import type { Logger } from "./telemetry/logger.ts"
import type { Transport } from "./upstream/transport.ts"
import { openAiProvider } from "./upstream-provider.ts"

type ProviderPlugin = Snapshot["providers"][number]

interface ProvidersOptions {
  readonly upstream: { readonly transport: Transport; readonly version: string }
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: Logger
  readonly points: PointBook
  /** What a plugin listed last, where that is known. */
  readonly modelsOf: (plugin: ProviderPlugin) => readonly ModelInfo[] | undefined
}

export class Providers {
  readonly #options: ProvidersOptions
  #configured: readonly RoutedProvider[]
  #ollama: readonly RoutedProvider[] = []

  constructor(config: Config, options: ProvidersOptions) {
    this.#options = options
    this.#configured = this.#providersOf(config)
  }

  /** Makes a configuration's providers. @returns what takes them into use */
  prepare(config: Config): () => void {
    const configured = this.#providersOf(config)
    return () => {
      this.#configured = configured
    }
  }

  /** Takes a local Ollama into use, where there is one and it is still `wanted` when it is found. */
  async findOllama(signal: AbortSignal, wanted: () => boolean): Promise<RoutedProvider | undefined> {
    const { env, upstream } = this.#options
    const found = await discoverOllama({ env, signal })
    if (found === undefined || !wanted()) return undefined
    const provider = openAiProvider(found, upstream)
    this.#ollama = [provider]
    return provider
  }

  /** The provider plugins whose names no other provider has. */
  pluginsIn({ providers }: Snapshot): readonly ProviderPlugin[] {
    const taken = new Set([...this.#configured, ...this.#ollama].map(({ name }) => name))
    return providers.filter(({ name }) => !taken.has(name))
  }

  /** All that serve with this snapshot. */
  of(snapshot: Snapshot): readonly RoutedProvider[] {
    const { points, modelsOf, log } = this.#options
    const plugins = this.pluginsIn(snapshot)
    for (const { name: plugin } of snapshot.providers) {
      if (!plugins.some(({ name }) => name === plugin))
        log.warn("a provider plugin has the name of a configured provider, which is used", { plugin })
    }
    const routed = plugins.map((plugin) => pluginProvider(plugin, { points, models: modelsOf(plugin) }))
    return [...this.#configured, ...this.#ollama, ...routed]
  }

  #providersOf({ providers }: Config): readonly RoutedProvider[] {
    const { env, upstream } = this.#options
    const known = providers.length > 0 ? providers : discoverProviders(env)
    return known.map((provider) => openAiProvider(provider, upstream))
  }
}
