import type { Usage } from "../protocol/openai.ts"
import type { Candidate } from "../routing/catalog.ts"
import type { Counter, Gauge, Histogram, MetricStore } from "../telemetry/store.ts"

/** The series of one provider × model, bound when a call first uses it. */
interface CandidateSeries {
  readonly duration: Histogram
  readonly firstToken: Histogram
  readonly inputTokens: Histogram
  readonly outputTokens: Histogram
  readonly answered: Counter
}

/** What calls write into the metric store. */
export class CallMetrics {
  readonly #store: MetricStore
  readonly #series = new WeakMap<Candidate, CandidateSeries>()
  readonly #overhead: Histogram
  readonly activeStreams: Gauge

  constructor(store: MetricStore) {
    this.#store = store
    this.#overhead = store.histogram("gateway.overhead", {})
    this.activeStreams = store.gauge("gateway.streams.active", {})
  }

  attemptAnswered(candidate: Candidate): void {
    this.#of(candidate).answered.add()
  }

  attemptFailed(candidate: Candidate, code: string, durationMs: number): void {
    const provider = candidate.provider.name
    this.#store.counter("gateway.attempts", { provider, outcome: code }).add()
    this.#store
      .histogram("gen_ai.client.operation.duration", {
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": modelLabel(candidate),
        "error.type": code,
      })
      .record(durationMs / 1000)
  }

  switched(from: string, to: string, reason: string): void {
    this.#store.counter("gateway.provider.switches", { from, to, reason }).add()
  }

  firstToken(candidate: Candidate, latencyMs: number): void {
    this.#of(candidate).firstToken.record(latencyMs / 1000)
  }

  answered(candidate: Candidate, durationMs: number, usage: Usage | undefined): void {
    const series = this.#of(candidate)
    series.duration.record(durationMs / 1000)
    if (usage === undefined) return
    series.inputTokens.record(usage.prompt_tokens)
    // Embeddings have no output.
    if (usage.completion_tokens > 0) series.outputTokens.record(usage.completion_tokens)
  }

  cacheAsked(plugin: string, result: "hit" | "miss" | "bypass"): void {
    this.#store.counter("gateway.cache.requests", { plugin, result }).add()
  }

  overhead(overheadMs: number): void {
    this.#overhead.record(Math.max(0, overheadMs) / 1000)
  }

  streamEnded(outcome: string): void {
    this.#store.counter("gateway.stream.end", { outcome }).add()
  }

  #of(candidate: Candidate): CandidateSeries {
    const known = this.#series.get(candidate)
    if (known !== undefined) return known
    const series = this.#bind(candidate)
    this.#series.set(candidate, series)
    return series
  }

  #bind(candidate: Candidate): CandidateSeries {
    const { provider } = candidate
    const labels = { "gen_ai.provider.name": provider.name, "gen_ai.request.model": modelLabel(candidate) }
    const tokens = (type: "input" | "output") =>
      this.#store.histogram("gen_ai.client.token.usage", { ...labels, "gen_ai.token.type": type })
    return {
      duration: this.#store.histogram("gen_ai.client.operation.duration", { ...labels, "error.type": "" }),
      firstToken: this.#store.histogram("gen_ai.server.time_to_first_token", labels),
      inputTokens: tokens("input"),
      outputTokens: tokens("output"),
      answered: this.#store.counter("gateway.attempts", { provider: provider.name, outcome: "answered" }),
    }
  }
}

/** A model that its provider does not list is a name that the client made up, maybe a new one each time. */
function modelLabel({ model, info }: Candidate): string {
  return info === undefined ? "_OTHER" : model
}
