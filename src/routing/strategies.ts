/** The orders in which providers of one model are tried. Pure: no clock, no I/O. */
import type { Candidate } from "./catalog.ts"

export type Strategy = "cost_optimized" | "latency_first" | "quality_first"

export interface RoutingFacts {
  /** Expected price of this request at a candidate in US dollars; undefined where it is not known. */
  costUsd(candidate: Candidate): number | undefined
  /** Recent time to the first token in ms; undefined where nothing was measured. */
  latencyMs(provider: string): number | undefined
}

type Rank = (candidate: Candidate, facts: RoutingFacts) => number

/** Lower ranks first. What is not known ranks last, except latency: a provider is measured by trying it. */
const RANKS = {
  cost_optimized: (candidate, facts) => facts.costUsd(candidate) ?? Number.POSITIVE_INFINITY,
  latency_first: (candidate, facts) => facts.latencyMs(candidate.provider.name) ?? 0,
  quality_first: (candidate) => -(candidate.info?.quality ?? Number.NEGATIVE_INFINITY),
} as const satisfies Record<Strategy, Rank>

/** Orders candidates by a strategy; equal ones keep the order of the configuration. */
export function orderCandidates(
  strategy: Strategy,
  candidates: readonly Candidate[],
  facts: RoutingFacts,
): readonly Candidate[] {
  if (candidates.length < 2) return candidates
  const rank: Rank = RANKS[strategy]
  return candidates
    .map((candidate) => ({ candidate, rank: rank(candidate, facts) }))
    .sort((a, b) => (a.rank === b.rank ? 0 : a.rank - b.rank))
    .map(({ candidate }) => candidate)
}
