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

export type MetricsFormat = "text" | "openmetrics"

/** One metric of one process. */
export interface FamilyText {
  readonly name: string
  readonly header: string
  readonly samples: string
}

const CONTENT_TYPES: Record<MetricsFormat, string> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

interface FamiliesOptions {
  readonly format: MetricsFormat
  /** Metrics of others, whose names are not taken. */
  readonly foreign?: readonly ForeignFamily[]
  /** Added to every series: `process="2"`. */
  readonly label?: string
}

export function renderFamilies(
  store: MetricStore,
  { format, foreign = [], label = "" }: FamiliesOptions,
): readonly FamilyText[] {
  const own = [...store.families()]
    .filter(({ series }) => series.size > 0)
    .map((family) => ({
      name: family.name,
      header: header(family, format),
      samples: samples(family, format, label),
    }))
  return [...own, ...foreign.map((family) => foreignFamily(family, format, label))]
}

/** What several processes rendered as one text: a metric's series may stand in one place only. */
export function joinFamilies(
  processes: readonly (readonly FamilyText[])[],
  format: MetricsFormat,
): Exposition {
  const texts = new Map<string, string>()
  for (const { name, header, samples } of processes.flat()) {
    texts.set(name, (texts.get(name) ?? header) + samples)
  }
  const body = [...texts.values()].join("")
  return { body: format === "openmetrics" ? `${body}# EOF\n` : body, contentType: CONTENT_TYPES[format] }
}

function header({ names, spec }: MetricFamily, format: MetricsFormat): string {
  const isOpenMetrics = format === "openmetrics"
  const name = isOpenMetrics ? names.family : names.sample
  const unit = isOpenMetrics && names.unit !== undefined ? `# UNIT ${name} ${names.unit}\n` : ""
  return `# HELP ${name} ${spec.help}\n# TYPE ${name} ${spec.kind}\n${unit}`
}

function samples({ names, spec, series }: MetricFamily, format: MetricsFormat, label: string): string {
  const bounds = [...(spec.buckets ?? []), Number.POSITIVE_INFINITY].map(
    (bound) => `le="${formatBound(bound, format)}"} `,
  )
  let text = ""
  for (const one of series.values()) {
    const labels = one.labelText === "" || label === "" ? one.labelText + label : `${one.labelText},${label}`
    text +=
      one instanceof Histogram
        ? histogramSamples(one, names.family, { labels, bounds })
        : `${names.sample}${braced(labels)} ${formatNumber(one.value)}\n`
  }
  return text
}

interface HistogramTexts {
  readonly labels: string
  readonly bounds: readonly string[]
}

function histogramSamples(series: Histogram, name: string, { labels, bounds }: HistogramTexts): string {
  const { counts } = series
  const opening = `${name}_bucket{${labels}${labels === "" ? "" : ","}`
  const all = braced(labels)
  let text = ""
  let total = 0
  for (let index = 0; index < counts.length; index++) {
    total += counts[index] as number
    text += `${opening}${bounds[index]}${total}\n`
  }
  return `${text}${name}_sum${all} ${formatNumber(series.sum)}\n${name}_count${all} ${total}\n`
}

function foreignFamily(
  { name, type, help, samples }: ForeignFamily,
  format: MetricsFormat,
  label: string,
): FamilyText {
  const isOpenMetrics = format === "openmetrics"
  const family = isOpenMetrics ? baseName(name, type) : name
  const sampleName = isOpenMetrics && type === "counter" ? `${family}_total` : family
  const shownType = isOpenMetrics && type === "untyped" ? "unknown" : type
  const helpLine = help === undefined ? "" : `# HELP ${family} ${escapeHelp(help, format)}\n`
  const lines = inSeries(samples).map((sample) =>
    foreignSample({ name: sampleName, bound: boundLabel(type, sample.suffix), sample, format, label }),
  )
  return { name, header: `${helpLine}# TYPE ${family} ${shownType}\n`, samples: lines.join("") }
}

interface ForeignLine {
  readonly name: string
  /** The label whose value is a number. */
  readonly bound: string | undefined
  readonly sample: ForeignSample
  readonly format: MetricsFormat
  readonly label: string
}

function foreignSample({ name, bound, sample, format, label: added }: ForeignLine): string {
  const { suffix, labels, value, timestamp } = sample
  const own = labels.map(([label, text]) => {
    const shown = label === bound ? formatBound(numberOf(text), format) : escapeLabelValue(text)
    return `${label}="${shown}"`
  })
  const labelText = (added === "" ? own : [...own, added]).join(",")
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

function escapeHelp(help: string, format: MetricsFormat): string {
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
function formatBound(bound: number, format: MetricsFormat): string {
  const size = Math.abs(bound)
  if (!Number.isFinite(bound)) return formatNumber(bound)
  if (bound !== 0 && (size < 1e-4 || size >= 1e6))
    return bound.toExponential().replace(/e([+-])(\d)$/, "e$10$2")
  return format === "openmetrics" && Number.isInteger(bound) ? `${bound}.0` : String(bound)
}

/** @param accept the scraper's Accept header. */
export function negotiateFormat(accept: string | null | undefined): MetricsFormat {
  let openMetrics = 0
  let text = 0
  for (const entry of (accept ?? "").toLowerCase().split(",")) {
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
