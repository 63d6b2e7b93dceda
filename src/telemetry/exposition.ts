/**
 * Metrics as text for a scraper: Prometheus text format 0.0.4, or OpenMetrics 1.0 where the scraper asks for it.
 * Sources: https://prometheus.io/docs/instrumenting/exposition_formats,
 * https://prometheus.io/docs/specs/om/open_metrics_spec
 */
import { baseName } from "./foreign-metrics.ts"
import { escapeLabelValue } from "./prometheus.ts"
import { boundLabel, type ForeignFamily, type ForeignSample, numberOf } from "./prometheus-text.ts"
import { Histogram } from "./series.ts"
import type { MetricFamily, MetricStore } from "./store.ts"

export interface Exposition {
  readonly body: string
  readonly contentType: string
}

type Format = "text" | "openmetrics"

const CONTENT_TYPES: Record<Format, string> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

/**
 * @param accept the scraper's Accept header
 * @param foreign metrics of others, whose names are not taken
 */
export function renderMetrics(
  store: MetricStore,
  accept?: string | null,
  foreign: readonly ForeignFamily[] = [],
): Exposition {
  const format = negotiate(accept ?? "")
  let body = ""
  for (const family of store.families()) {
    if (family.series.size > 0) body += header(family, format) + samples(family, format)
  }
  for (const family of foreign) body += foreignFamily(family, format)
  if (format === "openmetrics") body += "# EOF\n"
  return { body, contentType: CONTENT_TYPES[format] }
}

function header({ names, spec }: MetricFamily, format: Format): string {
  const isOpenMetrics = format === "openmetrics"
  const name = isOpenMetrics ? names.family : names.sample
  const unit = isOpenMetrics && names.unit !== undefined ? `# UNIT ${name} ${names.unit}\n` : ""
  return `# HELP ${name} ${spec.help}\n# TYPE ${name} ${spec.kind}\n${unit}`
}

function samples({ names, spec, series }: MetricFamily, format: Format): string {
  const bounds = [...(spec.buckets ?? []), Number.POSITIVE_INFINITY].map(
    (bound) => `le="${formatBound(bound, format)}"} `,
  )
  let text = ""
  for (const one of series.values()) {
    text +=
      one instanceof Histogram
        ? histogramSamples(one, names.family, bounds)
        : `${names.sample}${braced(one.labelText)} ${formatNumber(one.value)}\n`
  }
  return text
}

function histogramSamples(series: Histogram, name: string, bounds: readonly string[]): string {
  const { counts, labelText } = series
  const opening = `${name}_bucket{${labelText}${labelText === "" ? "" : ","}`
  const labels = braced(labelText)
  let text = ""
  let total = 0
  for (let index = 0; index < counts.length; index++) {
    total += counts[index] as number
    text += `${opening}${bounds[index]}${total}\n`
  }
  return `${text}${name}_sum${labels} ${formatNumber(series.sum)}\n${name}_count${labels} ${total}\n`
}

function foreignFamily({ name, type, help, samples }: ForeignFamily, format: Format): string {
  const isOpenMetrics = format === "openmetrics"
  const family = isOpenMetrics ? baseName(name, type) : name
  const sampleName = isOpenMetrics && type === "counter" ? `${family}_total` : family
  const shownType = isOpenMetrics && type === "untyped" ? "unknown" : type
  let text = help === undefined ? "" : `# HELP ${family} ${escapeHelp(help, format)}\n`
  text += `# TYPE ${family} ${shownType}\n`
  for (const sample of inSeries(samples)) {
    text += foreignSample(sampleName, boundLabel(type, sample.suffix), sample, format)
  }
  return text
}

function foreignSample(
  name: string,
  bound: string | undefined,
  { suffix, labels, value, timestamp }: ForeignSample,
  format: Format,
): string {
  const labelText = labels
    .map(([label, text]) => {
      const shown = label === bound ? formatBound(numberOf(text), format) : escapeLabelValue(text)
      return `${label}="${shown}"`
    })
    .join(",")
  const time = timestamp === undefined ? "" : ` ${format === "openmetrics" ? timestamp / 1000 : timestamp}`
  return `${name}${suffix}${braced(labelText)} ${formatNumber(value)}${time}\n`
}

/** The samples of one series stand together, a histogram's buckets in their order. */
function inSeries(samples: readonly ForeignSample[]): readonly ForeignSample[] {
  const series = Map.groupBy(samples, ({ labels }) =>
    JSON.stringify(labels.filter(([label]) => label !== "le" && label !== "quantile").toSorted()),
  )
  return [...series.values()].flatMap((group) => group.toSorted((a, b) => boundOf(a) - boundOf(b)))
}

/** What is no bucket comes behind the buckets. */
function boundOf({ suffix, labels }: ForeignSample): number {
  if (suffix !== "_bucket") return Number.MAX_VALUE
  const bound = numberOf(labels.find(([label]) => label === "le")?.[1] ?? "")
  return Math.min(bound, Number.MAX_VALUE / 2)
}

function escapeHelp(help: string, format: Format): string {
  const text = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")
  return format === "openmetrics" ? text.replaceAll('"', '\\"') : text
}

function braced(labelText: string): string {
  return labelText === "" ? "" : `{${labelText}}`
}

function formatNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf"
  if (value === Number.NEGATIVE_INFINITY) return "-Inf"
  return String(value)
}

/**
 * A bucket's bound is a label value, so one number must have one text: the one that Prometheus' own libraries
 * write (Go's shortest %g; OpenMetrics adds `.0` to whole numbers).
 */
function formatBound(bound: number, format: Format): string {
  const size = Math.abs(bound)
  if (!Number.isFinite(bound)) return formatNumber(bound)
  if (bound !== 0 && (size < 1e-4 || size >= 1e6))
    return bound.toExponential().replace(/e([+-])(\d)$/, "e$10$2")
  return format === "openmetrics" && Number.isInteger(bound) ? `${bound}.0` : String(bound)
}

function negotiate(accept: string): Format {
  let openMetrics = 0
  let text = 0
  for (const entry of accept.toLowerCase().split(",")) {
    const [type, ...parameters] = entry.split(";").map((part) => part.trim())
    const value = (name: string) =>
      parameters.find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1)
    const weight = Number(value("q") ?? 1)
    const version = value("version") ?? "1.0.0"
    if (type === "application/openmetrics-text" && version === "1.0.0")
      openMetrics = Math.max(openMetrics, weight)
    else if (type === "text/plain") text = Math.max(text, weight)
  }
  return openMetrics > 0 && openMetrics >= text ? "openmetrics" : "text"
}
