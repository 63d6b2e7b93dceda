import { GatewayError } from "../errors.ts"
import {
  type LabelName,
  type LabelsOf,
  type LabelValue,
  METRICS,
  type MetricName,
  type MetricSpec,
  type NameOf,
} from "./metrics.ts"
import { labelText, type PrometheusNames, prometheusNames } from "./prometheus.ts"
import { Counter, Gauge, Histogram, Observed, type Series } from "./series.ts"

export type { Counter, Gauge, Histogram } from "./series.ts"

/** The value of every label of a series that stands for all those above a metric's limit. */
const OVERFLOW = "__overflow__"

/** One metric and its series, as the exposition reads it. */
export interface MetricFamily {
  readonly name: MetricName
  readonly spec: MetricSpec
  readonly names: PrometheusNames
  readonly series: ReadonlyMap<string, Series>
}

interface StoreOptions {
  /** Series a metric may have. More of them share one, so that labels a client chooses cannot fill memory. */
  readonly maxSeries?: number
}

/**
 * All series of all metrics. Bind a series once and keep it where its labels are known beforehand; binding
 * costs a look-up, writing to a bound series does not.
 */
export class MetricStore {
  readonly #families = new Map<MetricName, Family>()
  readonly #maxSeries: number

  constructor({ maxSeries = 2000 }: StoreOptions = {}) {
    this.#maxSeries = maxSeries
    for (const name of Object.keys(METRICS) as MetricName[]) this.#families.set(name, new Family(name))
  }

  counter<N extends NameOf<"counter">>(name: N, labels: LabelsOf<N>): Counter {
    return this.#bind(name, labels, Counter, (values, text) => new Counter(values, text))
  }

  gauge<N extends NameOf<"gauge">>(name: N, labels: LabelsOf<N>): Gauge {
    return this.#bind(name, labels, Gauge, (values, text) => new Gauge(values, text))
  }

  histogram<N extends NameOf<"histogram">>(name: N, labels: LabelsOf<N>): Histogram {
    const bounds = METRICS[name].buckets
    return this.#bind(name, labels, Histogram, (values, text) => new Histogram(values, text, bounds))
  }

  /**
   * Has `read` called for the value whenever somebody asks for it. At the metric's limit nothing is added.
   * @returns a function that takes the series away again.
   */
  observe<N extends NameOf<"counter" | "gauge">>(
    name: N,
    labels: LabelsOf<N>,
    read: () => number,
  ): () => void {
    const family = this.#family(name)
    const values = family.values(labels).map(sanitise)
    const key = values.join(SEPARATOR)
    if (!family.series.has(key) && family.series.size >= this.#maxSeries) {
      this.#countOverflow(name)
      return () => {}
    }
    const series = new Observed(values, labelText(family.spec.labels, values), read)
    family.series.set(key, series)
    return () => {
      if (family.series.get(key) === series) family.series.delete(key)
    }
  }

  /** Drops every series that carries all of these labels: those of a plugin that is gone. */
  remove(labels: Readonly<Partial<Record<LabelName, LabelValue>>>): void {
    for (const family of this.#families.values()) family.remove(labels)
  }

  families(): Iterable<MetricFamily> {
    return this.#families.values()
  }

  #bind<S extends Series>(
    name: MetricName,
    labels: Labels,
    kind: new (...args: never[]) => S,
    create: (values: readonly string[], text: string) => S,
  ): S {
    const family = this.#family(name)
    const raw = family.values(labels)
    // Clean values, nearly all of them, are found as they come. A value with a separator in it cannot be
    // mistaken for another series: it would make the key longer than any clean one has parts.
    const found = family.series.get(raw.join(SEPARATOR))
    if (found instanceof kind) return found
    return this.#bindNew(family, raw.map(sanitise), kind, create)
  }

  #bindNew<S extends Series>(
    family: Family,
    values: readonly string[],
    kind: new (...args: never[]) => S,
    create: (values: readonly string[], text: string) => S,
  ): S {
    const key = values.join(SEPARATOR)
    const found = family.series.get(key)
    if (found instanceof kind) return found
    if (found !== undefined) {
      throw new GatewayError(
        "internal_error",
        `metric ${family.name} is observed; it cannot be written to too`,
      )
    }
    const isFull = family.series.size >= this.#maxSeries && !values.every((value) => value === OVERFLOW)
    if (isFull && family.name !== OVERFLOW_METRIC) {
      this.#countOverflow(family.name)
      return this.#bindNew(
        family,
        values.map(() => OVERFLOW),
        kind,
        create,
      )
    }
    const series = create(values, labelText(family.spec.labels, values))
    family.series.set(key, series)
    return series
  }

  #countOverflow(family: MetricName): void {
    this.counter(OVERFLOW_METRIC, { family }).add()
  }

  #family(name: MetricName): Family {
    const family = this.#families.get(name)
    if (family === undefined) throw new GatewayError("internal_error", `no metric is called ${name}`)
    return family
  }
}

const OVERFLOW_METRIC = "gateway.telemetry.series_overflow"

type Labels = Readonly<Record<string, LabelValue>>

class Family implements MetricFamily {
  readonly name: MetricName
  readonly spec: MetricSpec
  readonly names: PrometheusNames
  readonly series = new Map<string, Series>()

  constructor(name: MetricName) {
    this.name = name
    this.spec = METRICS[name]
    this.names = prometheusNames(name, this.spec)
  }

  values(labels: Labels): string[] {
    return this.spec.labels.map((label) => String(labels[label] ?? ""))
  }

  remove(labels: Readonly<Partial<Record<string, LabelValue>>>): void {
    const wanted = Object.entries(labels).map(
      ([label, value]) => [this.spec.labels.indexOf(label), sanitise(String(value))] as const,
    )
    if (wanted.length === 0 || wanted.some(([index]) => index < 0)) return
    for (const [key, series] of this.series) {
      if (wanted.every(([index, value]) => series.values[index] === value)) this.series.delete(key)
    }
  }
}

const SEPARATOR = "\u0000"
const MAX_VALUE_LENGTH = 128
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

/** Label values may come from a client: bounded, well-formed, and on one line. */
function sanitise(value: string): string {
  return value.slice(0, MAX_VALUE_LENGTH).toWellFormed().replace(CONTROL_CHARACTERS, "\ufffd")
}
