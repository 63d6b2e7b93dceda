import { expect, test } from "bun:test"
import type { Candidate } from "../../src/routing/catalog.ts"
import { configuredProvider, DEFAULT_TIMEOUTS } from "../../src/routing/provider.ts"
import { orderCandidates, type RoutingFacts } from "../../src/routing/strategies.ts"

const NO_FACTS: RoutingFacts = { costUsd: () => undefined, latencyMs: () => undefined }

function candidate(name: string, quality?: number): Candidate {
  const info = quality === undefined ? { id: "m" } : { id: "m", quality }
  const abilities = { models: [info], chat: () => new Response() }
  return { provider: configuredProvider(name, abilities, DEFAULT_TIMEOUTS), model: "m", info }
}

const names = (candidates: readonly Candidate[]) => candidates.map(({ provider }) => provider.name)

test("cost_optimized puts the cheapest first, free ones before all, unknown prices last", () => {
  const prices: Record<string, number | undefined> = { dear: 2, free: 0, cheap: 1, unknown: undefined }
  const facts = { ...NO_FACTS, costUsd: ({ provider }: Candidate) => prices[provider.name] }
  const ordered = orderCandidates(
    "cost_optimized",
    Object.keys(prices).map((name) => candidate(name)),
    facts,
  )
  expect(names(ordered)).toEqual(["free", "cheap", "dear", "unknown"])
})

test("latency_first puts the quickest first and tries those that were never measured", () => {
  const latencies: Record<string, number | undefined> = { slow: 900, quick: 90, fresh: undefined }
  const facts = { ...NO_FACTS, latencyMs: (provider: string) => latencies[provider] }
  const ordered = orderCandidates(
    "latency_first",
    Object.keys(latencies).map((name) => candidate(name)),
    facts,
  )
  expect(names(ordered)).toEqual(["fresh", "quick", "slow"])
})

test("quality_first puts the best model first and unrated ones last", () => {
  const candidates = [candidate("unrated"), candidate("good", 0.7), candidate("best", 0.9)]
  expect(names(orderCandidates("quality_first", candidates, NO_FACTS))).toEqual(["best", "good", "unrated"])
})

test("candidates that are equal keep the order of the configuration", () => {
  const candidates = ["b", "a", "c"].map((name) => candidate(name))
  expect(names(orderCandidates("cost_optimized", candidates, NO_FACTS))).toEqual(["b", "a", "c"])
  expect(names(orderCandidates("quality_first", candidates, NO_FACTS))).toEqual(["b", "a", "c"])
})
