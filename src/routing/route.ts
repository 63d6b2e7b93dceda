/** Which providers a call is tried at, and in which order. */
import { GatewayError } from "../errors.ts"
import type { Operation, RouteRequest } from "../plugin/contract.ts"
import type { Snapshot } from "../plugin/snapshot.ts"
import type { Candidate, Catalog } from "./catalog.ts"
import type { ProviderHealth } from "./health.ts"
import { orderCandidates, type RoutingFacts, type Strategy } from "./strategies.ts"

interface RouteOptions {
  readonly snapshot: Snapshot
  readonly catalog: Catalog
  readonly model: string
  /** A provider that an `onRequest` hook asked for. */
  readonly preferred: string | undefined
  readonly strategy: Strategy
  readonly facts: RoutingFacts
  readonly operation: Operation
  readonly health: ProviderHealth
  /** Made only where a router plugin looks at it. */
  readonly makeRequest: () => RouteRequest
}

/**
 * Asks the router plugins, then the strategy.
 * @throws GatewayError `model_not_found`, `no_provider_available`, `invalid_request` where no provider of the model
 * does what is asked
 */
export function route(options: RouteOptions): readonly Candidate[] | Promise<readonly Candidate[]> {
  if (options.snapshot.routers.length === 0) return candidatesOf(options, undefined)
  return askRouters(options).then((chosen) => candidatesOf(options, chosen))
}

async function askRouters({
  snapshot,
  catalog,
  model,
  makeRequest,
}: RouteOptions): Promise<Candidate | undefined> {
  const request = Object.freeze(makeRequest())
  for (const router of snapshot.routers) {
    if ((await router.routeRequest.call(request)) !== true) continue
    const name = await router.selectProvider.call(request, catalog.available)
    const chosen = name === undefined ? undefined : catalog.target(name, bareModel(catalog, model))
    if (chosen !== undefined) return chosen
  }
  return undefined
}

function candidatesOf(options: RouteOptions, chosen: Candidate | undefined): readonly Candidate[] {
  const able = ableTo(options, inOrder(options, chosen))
  return options.health.healthyFirst(able)
}

/** Those that do what is asked. All do chat. */
function ableTo({ operation, model }: RouteOptions, candidates: readonly Candidate[]): readonly Candidate[] {
  if (operation === "chat") return candidates
  const able = candidates.filter(({ provider }) => provider.embed !== undefined)
  if (able.length > 0) return able
  const names = [...new Set(candidates.map(({ provider }) => `"${provider.name}"`))]
  const who = `${names.join(" and ")} ${names.length === 1 ? "has" : "have"}`
  throw new GatewayError(
    "invalid_request",
    `the model "${model}" cannot be used with /v1/embeddings: ${who} no embeddings; ask for a model of another provider`,
    { param: "model" },
  )
}

function inOrder(options: RouteOptions, chosen: Candidate | undefined): readonly Candidate[] {
  const { catalog, model, preferred, strategy, facts } = options
  const resolution = catalog.resolve(model)
  const first =
    chosen ?? (preferred === undefined ? undefined : catalog.target(preferred, bareModel(catalog, model)))
  if (resolution === undefined) {
    if (first !== undefined) return [first]
    throw notServed(catalog, model)
  }
  const ordered =
    resolution.by === "listed"
      ? orderCandidates(strategy, resolution.candidates, facts)
      : resolution.candidates
  if (first === undefined) return ordered
  return [first, ...ordered.filter((candidate) => !isSame(candidate, first))]
}

/** `groq/llama` names its provider; another provider knows the model as `llama`. */
function bareModel(catalog: Catalog, model: string): string {
  const resolution = catalog.resolve(model)
  return resolution?.by === "listed" ? model : (resolution?.candidates[0]?.model ?? model)
}

function isSame(a: Candidate, b: Candidate): boolean {
  return a.provider === b.provider && a.model === b.model
}

function notServed(catalog: Catalog, model: string): GatewayError {
  if (catalog.providers.size === 0) {
    return new GatewayError(
      "no_provider_available",
      "no provider is configured; add one under providers: in config.yaml, set a key such as OPENAI_API_KEY, or enable a provider plugin",
    )
  }
  const similar = catalog.suggest(model).map((name) => `"${name}"`)
  const hint =
    similar.length > 0 ? `did you mean ${similar.join(" or ")}?` : "GET /v1/models lists what is served."
  return new GatewayError("model_not_found", `no provider serves the model "${model}"; ${hint}`, {
    param: "model",
  })
}
