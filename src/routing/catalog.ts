/**
 * Which providers serve which model. Compiled once for every generation of plugins and configuration.
 */
import type { AvailableProvider, ModelInfo } from "../plugin/contract.ts"
import { closest } from "../protocol/similar.ts"
import type { RoutedProvider } from "./provider.ts"

export interface Candidate {
  readonly provider: RoutedProvider
  /** The model as the provider names it. */
  readonly model: string
  readonly info: ModelInfo | undefined
}

export interface Resolution {
  /** `listed`: by a bare model name, so the strategy orders; otherwise the order is the operator's or the caller's. */
  readonly by: "provider" | "alias" | "listed"
  readonly candidates: readonly Candidate[]
}

export interface ListedModel {
  readonly id: string
  readonly providers: readonly string[]
}

interface CatalogOptions {
  readonly providers: readonly RoutedProvider[]
  /** Alias → `provider/model` or model names, in the order to try. */
  readonly aliases: Readonly<Record<string, readonly string[]>>
}

export class Catalog {
  readonly providers: ReadonlyMap<string, RoutedProvider>
  readonly available: readonly AvailableProvider[]
  readonly #resolutions = new Map<string, Resolution>()

  constructor({ providers, aliases }: CatalogOptions) {
    this.providers = new Map(providers.map((provider) => [provider.name, provider]))
    // Every request's routers get this list.
    this.available = Object.freeze(
      providers.map(({ name, models }) =>
        Object.freeze({ name, models: Object.freeze(models.map((model) => Object.freeze({ ...model }))) }),
      ),
    )
    for (const provider of providers) this.#list(provider)
    for (const [alias, targets] of Object.entries(aliases)) {
      const candidates = targets.flatMap((target) => this.resolve(target)?.candidates ?? [])
      if (candidates.length > 0) this.#resolutions.set(alias, { by: "alias", candidates })
    }
  }

  /** `provider/model`, an alias, or a model that some provider lists. Undefined: nobody serves it. */
  resolve(model: string): Resolution | undefined {
    return this.#resolutions.get(model) ?? this.#explicit(model)
  }

  /** The candidate for a provider's name and a model, as routers and hooks choose them. */
  candidate(providerName: string, model: string): Candidate | undefined {
    const provider = this.providers.get(providerName)
    if (provider === undefined) return undefined
    return { provider, model, info: provider.models.find((info) => info.id === model) }
  }

  /** `provider/model` or a provider's name alone, which keeps `model`. */
  target(name: string, model: string): Candidate | undefined {
    const whole = this.candidate(name, model)
    if (whole !== undefined) return whole
    return this.#explicit(name)?.candidates[0]
  }

  /** Every name to ask for, but for the `provider/model` forms. */
  models(): readonly ListedModel[] {
    return [...this.#resolutions].flatMap(([id, { by }]) => (by === "provider" ? [] : (this.model(id) ?? [])))
  }

  /** One of the names that are listed, `provider/model` forms included. */
  model(id: string): ListedModel | undefined {
    const candidates = this.#resolutions.get(id)?.candidates
    if (candidates === undefined) return undefined
    return { id, providers: [...new Set(candidates.map(({ provider }) => provider.name))] }
  }

  /** Names that look like a misspelt one. */
  suggest(model: string): readonly string[] {
    return closest(model, [...this.#resolutions.keys()])
  }

  #list(provider: RoutedProvider): void {
    for (const info of provider.models) {
      const candidate = { provider, model: info.id, info }
      const known = this.#resolutions.get(info.id)?.candidates ?? []
      this.#resolutions.set(info.id, { by: "listed", candidates: [...known, candidate] })
      this.#resolutions.set(`${provider.name}/${info.id}`, { by: "provider", candidates: [candidate] })
    }
  }

  #explicit(model: string): Resolution | undefined {
    const slash = model.indexOf("/")
    if (slash <= 0 || slash === model.length - 1) return undefined
    const candidate = this.candidate(model.slice(0, slash), model.slice(slash + 1))
    return candidate && { by: "provider", candidates: [candidate] }
  }
}
