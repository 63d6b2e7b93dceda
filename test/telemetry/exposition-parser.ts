/**
 * A strict reader of both exposition formats, written from their specifications and not from our writer:
 * https://prometheus.io/docs/instrumenting/exposition_formats and
 * https://prometheus.io/docs/specs/om/open_metrics_spec
 */
export interface ParsedFamily {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly unit: string | undefined
  readonly samples: readonly ParsedSample[]
}

interface ParsedSample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export type ExpositionFormat = "text" | "openmetrics"

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
const LABEL = '([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\\\\n]|\\\\["\\\\n])*)"'
const META = new RegExp(`^# (HELP|TYPE|UNIT) (${NAME}) (.+)$`)
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)?\\})? (\\S+)$`)
const NUMBER = /^(?:[+-]Inf|NaN|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/
const TYPES = ["counter", "gauge", "histogram"]

export function parseExposition(body: string, format: ExpositionFormat): Map<string, ParsedFamily> {
  const families = new Map<string, MutableFamily>()
  let current: MutableFamily | undefined
  for (const line of linesOf(body, format)) {
    const meta = META.exec(line)
    if (meta !== null) current = readMeta(families, current, meta)
    else readSample(current, line, format)
  }
  for (const family of families.values()) check(family, format)
  return families
}

interface MutableFamily {
  readonly name: string
  type: string
  help: string
  unit: string | undefined
  readonly samples: ParsedSample[]
}

function linesOf(body: string, format: ExpositionFormat): string[] {
  demand(body.endsWith("\n"), "the last line has no end")
  const lines = body.slice(0, -1).split("\n")
  if (format === "openmetrics") demand(lines.pop() === "# EOF", "the last line is not # EOF")
  demand(!lines.includes("# EOF"), "# EOF before the end")
  return lines[0] === "" && lines.length === 1 ? [] : lines
}

function readMeta(
  families: Map<string, MutableFamily>,
  current: MutableFamily | undefined,
  [line, keyword, name = "", text = ""]: RegExpExecArray,
): MutableFamily {
  const family = current?.name === name ? current : startFamily(families, name)
  demand(family.samples.length === 0, `${line} after samples`)
  if (keyword === "HELP") {
    demand(family.help === "", `a second HELP of ${name}`)
    family.help = text
  } else if (keyword === "TYPE") {
    demand(family.type === "" && TYPES.includes(text), `a wrong or second type: ${line}`)
    family.type = text
  } else {
    demand(family.unit === undefined && name.endsWith(`_${text}`), `the unit is not the name's end: ${line}`)
    family.unit = text
  }
  return family
}

function startFamily(families: Map<string, MutableFamily>, name: string): MutableFamily {
  demand(!families.has(name), `a second group of ${name}`)
  const family = { name, type: "", help: "", unit: undefined, samples: [] }
  families.set(name, family)
  return family
}

function readSample(family: MutableFamily | undefined, line: string, format: ExpositionFormat): void {
  const match = SAMPLE.exec(line)
  if (match === null) throw new Error(`no sample: ${JSON.stringify(line)}`)
  const [, name = "", labelText = ""] = match
  const valueText = match.at(-1) ?? ""
  if (family === undefined) throw new Error(`a sample before any family: ${line}`)
  demand(allowedNames(family, format).includes(name), `${name} is not of family ${family.name}`)
  demand(NUMBER.test(valueText), `no number: ${line}`)
  const labels: Record<string, string> = {}
  for (const [, label = "", value = ""] of labelText.matchAll(new RegExp(LABEL, "g"))) {
    demand(!Object.hasOwn(labels, label), `label ${label} twice: ${line}`)
    labels[label] = value.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped))
  }
  family.samples.push({ name, labels, value: numberOf(valueText) })
}

function allowedNames({ name, type }: MutableFamily, format: ExpositionFormat): string[] {
  if (type === "histogram") return [`${name}_bucket`, `${name}_sum`, `${name}_count`]
  return [type === "counter" && format === "openmetrics" ? `${name}_total` : name]
}

function check(family: MutableFamily, format: ExpositionFormat): void {
  const { name, samples, type } = family
  demand(type !== "" && family.help !== "", `${name} lacks HELP or TYPE`)
  demand(samples.length > 0, `${name} has no samples`)
  if (format === "text" && type === "counter") demand(name.endsWith("_total"), `${name} lacks _total`)
  const seen = new Set(
    samples.map((sample) => `${sample.name}${JSON.stringify(Object.entries(sample.labels).sort())}`),
  )
  demand(seen.size === samples.length, `${name} has a sample twice`)
  if (type === "counter")
    demand(
      samples.every(({ value }) => value >= 0),
      `${name} is below 0`,
    )
  if (type === "histogram") checkHistogram(family)
}

function checkHistogram({ name, samples }: MutableFamily): void {
  const series = Map.groupBy(samples, ({ labels }) => JSON.stringify({ ...labels, le: undefined }))
  for (const [labels, group] of series) {
    const buckets = group.filter((sample) => sample.name === `${name}_bucket`)
    const bounds = buckets.map((bucket) => numberOf(bucket.labels.le ?? ""))
    demand(
      isOrdered(bounds, (a, b) => a < b),
      `${name}${labels}: bounds are not ascending`,
    )
    const counts = buckets.map(({ value }) => value)
    demand(
      isOrdered(counts, (a, b) => a <= b),
      `${name}${labels}: counts fall`,
    )
    demand(bounds.at(-1) === Number.POSITIVE_INFINITY, `${name}${labels}: no +Inf bucket`)
    const count = group.find((sample) => sample.name === `${name}_count`)
    demand(count?.value === buckets.at(-1)?.value, `${name}${labels}: count is not the last bucket`)
    demand(
      group.some((sample) => sample.name === `${name}_sum`),
      `${name}${labels}: no sum`,
    )
  }
}

function isOrdered(numbers: readonly number[], isOrderedPair: (a: number, b: number) => boolean): boolean {
  return numbers.slice(1).every((number, index) => isOrderedPair(numbers[index] as number, number))
}

function numberOf(text: string): number {
  if (text === "+Inf") return Number.POSITIVE_INFINITY
  if (text === "-Inf") return Number.NEGATIVE_INFINITY
  return Number(text)
}

function demand(isMet: boolean, fault: string): void {
  if (!isMet) throw new Error(fault)
}
