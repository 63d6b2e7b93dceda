/** Metrics of others beside the gateway's own: none may have a name that is taken. */
import { METRICS, type MetricName, type MetricSpec } from "./metrics.ts"
import { prometheusNames } from "./prometheus.ts"
import type { ForeignFamily, ForeignType } from "./prometheus-text.ts"

/** The names that are taken, in both formats: one format's `x_total` is the other's `x`. */
export class NameRegister {
  readonly #taken = new Set<string>()

  constructor() {
    for (const [name, spec] of Object.entries(METRICS) as [MetricName, MetricSpec][]) {
      this.#take(prometheusNames(name, spec).family, spec.kind)
    }
  }

  /** @returns whether the family may have its names */
  claim({ name, type }: ForeignFamily): boolean {
    const base = baseName(name, type)
    if (namesOf(base, type).some((wanted) => this.#taken.has(wanted))) return false
    this.#take(base, type)
    return true
  }

  #take(base: string, type: ForeignType): void {
    for (const name of namesOf(base, type)) this.#taken.add(name)
  }
}

/** OpenMetrics calls a counter's family without what its samples end with. */
export function baseName(name: string, type: ForeignType): string {
  return type === "counter" ? name.replace(/_total$/, "") : name
}

function namesOf(base: string, type: ForeignType): readonly string[] {
  return ["", ...SUFFIXES[type]].map((suffix) => base + suffix)
}

const SUFFIXES: Readonly<Record<ForeignType, readonly string[]>> = {
  counter: ["_total", "_created"],
  gauge: [],
  untyped: [],
  histogram: ["_bucket", "_sum", "_count", "_created"],
  summary: ["_sum", "_count", "_created"],
}
