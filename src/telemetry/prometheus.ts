/**
 * How a metric is called in Prometheus. Source: the OpenTelemetry specification, "Prometheus and OpenMetrics
 * compatibility"; ours, `gateway.*`, carry the product's name instead.
 */
import type { MetricSpec, MetricUnit } from "./metrics.ts"

export interface PrometheusNames {
  /** The family: `leapgate_hook_duration_seconds`; without `_total`. */
  readonly family: string
  /** The sample; a counter's ends with `_total`. */
  readonly sample: string
  /** `seconds`, `bytes`, or undefined where the unit only says what is counted. */
  readonly unit: string | undefined
}

export function prometheusNames(name: string, spec: Pick<MetricSpec, "kind" | "unit">): PrometheusNames {
  const unit = unitWord(spec.unit)
  const base = identifier(name.replace(/^gateway\./, "leapgate."))
  const family = unit === undefined ? base : `${base}_${unit}`
  return { family, sample: spec.kind === "counter" ? `${family}_total` : family, unit }
}

/** `a="b",c="d"`, escaped. Empty values are left out: to Prometheus they are the same as none. */
export function labelText(names: readonly string[], values: readonly string[]): string {
  return names
    .map((name, index) => [identifier(name), values[index] ?? ""] as const)
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}="${escapeLabelValue(value)}"`)
    .join(",")
}

function unitWord(unit: MetricUnit): string | undefined {
  if (unit === "s") return "seconds"
  if (unit === "By") return "bytes"
  return undefined
}

function identifier(name: string): string {
  return name.replaceAll(".", "_")
}

export function escapeLabelValue(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")
}
