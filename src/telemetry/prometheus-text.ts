/**
 * Reads metrics that somebody else wrote in the Prometheus text format 0.0.4. What it accepts can be written again
 * in both formats. Source: https://prometheus.io/docs/instrumenting/exposition_formats
 */
export interface ForeignFamily {
  readonly name: string
  readonly type: ForeignType
  readonly help: string | undefined
  readonly samples: readonly ForeignSample[]
  /** Where it begins in its text, from 1. */
  readonly line: number
}

const FOREIGN_TYPES = ["counter", "gauge", "histogram", "summary", "untyped"] as const
export type ForeignType = (typeof FOREIGN_TYPES)[number]

export interface ForeignSample {
  /** What follows the family's name: `""`, `_bucket`, `_sum` or `_count`. */
  readonly suffix: string
  readonly labels: Labels
  readonly value: number
  /** Milliseconds since the epoch. */
  readonly timestamp: number | undefined
}

type Labels = readonly (readonly [name: string, value: string])[]

const MAX_BYTES = 1024 * 1024
const MAX_SAMPLES = 10_000

/** @throws Error with the number of the line at fault */
export function parsePrometheusText(text: string): readonly ForeignFamily[] {
  if (Buffer.byteLength(text) > MAX_BYTES) throw new Error(`the metrics are larger than ${MAX_BYTES} bytes`)
  if (text === "") return []
  const reader = new FamilyReader()
  const lines = text.split("\n")
  for (const [index, line] of lines.entries()) {
    try {
      if (index === lines.length - 1 && line !== "") throw new Error("the last line lacks its line feed")
      reader.read(line.trim(), index + 1)
    } catch (thrown) {
      throw new Error(`line ${index + 1}: ${(thrown as Error).message}`)
    }
  }
  return reader.families()
}

interface OpenFamily {
  readonly name: string
  type: ForeignType | undefined
  help: string | undefined
  readonly samples: ForeignSample[]
  /** The samples it has, so that none comes twice. */
  readonly seen: Set<string>
  readonly line: number
}

class FamilyReader {
  readonly #families = new Map<string, OpenFamily>()
  #current: OpenFamily | undefined
  #samples = 0

  read(line: string, number: number): void {
    if (line === "") return
    if (line.startsWith("#")) this.#comment(line, number)
    else this.#sample(line, number)
  }

  families(): readonly ForeignFamily[] {
    const families = [...this.#families.values()].filter(({ samples }) => samples.length > 0)
    return families.map(({ name, type = "untyped", help, samples, line }) => {
      if (type === "histogram") checkBuckets(samples, name, line)
      return { name, type, help, samples, line }
    })
  }

  #comment(line: string, number: number): void {
    const [, keyword, name, rest = ""] = COMMENT.exec(line) ?? []
    if (keyword === undefined || name === undefined) {
      if (!/^#[ \t]+(?:HELP|TYPE)\b/.test(line)) return
      throw new Error("HELP and TYPE are followed by the name of a metric")
    }
    const family = this.#open(name, number)
    if (keyword === "HELP") {
      if (family.help !== undefined) throw new Error(`a second HELP of ${name}`)
      family.help = unescaped(rest, HELP_ESCAPES)
      return
    }
    if (family.type !== undefined) throw new Error(`a second TYPE of ${name}`)
    if (family.samples.length > 0) throw new Error(`the TYPE of ${name} comes after its samples`)
    if (!isType(rest))
      throw new Error(`${JSON.stringify(rest.slice(0, 40))} is none of ${FOREIGN_TYPES.join(", ")}`)
    family.type = rest
  }

  #sample(line: string, number: number): void {
    if (++this.#samples > MAX_SAMPLES) throw new Error(`more than ${MAX_SAMPLES} samples`)
    const [, name = "", rest = ""] = SAMPLE_NAME.exec(line) ?? []
    if (name === "") throw new Error("a sample starts with the name of its metric")
    const { labels, end } = rest.startsWith("{") ? readLabels(rest) : { labels: [], end: 0 }
    const [value = "", timestamp, ...more] = rest
      .slice(end)
      .trim()
      .split(/[ \t]+/)
    if (more.length > 0) throw new Error("there is something behind the timestamp")
    const { family, suffix } = this.#familyOf(name, number)
    const sample = checked(family, {
      suffix,
      labels,
      value: numberOf(value),
      timestamp: timestampOf(timestamp),
    })
    const key = suffix + JSON.stringify(sample.labels.toSorted(([a], [b]) => (a < b ? -1 : 1)))
    if (family.seen.has(key)) throw new Error(`a second sample ${name} with the same labels`)
    family.seen.add(key)
    family.samples.push(sample)
  }

  /** A histogram's or summary's samples are called after it, with something behind. */
  #familyOf(name: string, number: number): { family: OpenFamily; suffix: string } {
    const current = this.#current
    const suffix =
      current !== undefined && name.startsWith(current.name) ? name.slice(current.name.length) : undefined
    if (
      current !== undefined &&
      suffix !== undefined &&
      SUFFIXES[current.type ?? "untyped"].includes(suffix)
    ) {
      return { family: current, suffix }
    }
    const family = this.#open(name, number)
    if (!SUFFIXES[family.type ?? "untyped"].includes("")) {
      throw new Error(`${name} is a histogram, whose samples end with _bucket, _sum or _count`)
    }
    return { family, suffix: "" }
  }

  /** All lines of a metric stand together. */
  #open(name: string, line: number): OpenFamily {
    if (this.#current?.name === name) return this.#current
    if (this.#families.has(name)) throw new Error(`the lines of ${name} do not stand together`)
    const family = { name, type: undefined, help: undefined, samples: [], seen: new Set<string>(), line }
    this.#families.set(name, family)
    this.#current = family
    return family
  }
}

const COMMENT = /^#[ \t]+(HELP|TYPE)[ \t]+([a-zA-Z_:][a-zA-Z0-9_:]*)(?:[ \t]+(.*))?$/
const SAMPLE_NAME = /^([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*(.*)$/
const LABEL = /[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(,|(?=\}))/y
const LABELS_END = /[ \t]*\}/y
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i
const HELP_ESCAPES: Escapes = { "\\": "\\", n: "\n" }
const LABEL_ESCAPES: Escapes = { ...HELP_ESCAPES, '"': '"' }
type Escapes = Readonly<Record<string, string>>

const SUFFIXES: Readonly<Record<ForeignType, readonly string[]>> = {
  counter: [""],
  gauge: [""],
  untyped: [""],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"],
}

function readLabels(text: string): { labels: Labels; end: number } {
  const labels: [string, string][] = []
  let end = 1
  for (;;) {
    LABELS_END.lastIndex = end
    if (LABELS_END.test(text)) return { labels, end: LABELS_END.lastIndex }
    LABEL.lastIndex = end
    const [, name = "", value = ""] = LABEL.exec(text) ?? []
    if (name === "") throw new Error('labels are written {name="value",other="value"}')
    if (name.startsWith("__")) throw new Error(`the label ${name} is Prometheus' own`)
    if (labels.some(([other]) => other === name)) throw new Error(`the label ${name} is there twice`)
    labels.push([name, unescaped(value, LABEL_ESCAPES)])
    end = LABEL.lastIndex
  }
}

/** What the sample says has to make sense for its type. A bound gets one spelling, however it was written. */
function checked({ name, type = "untyped" }: OpenFamily, sample: ForeignSample): ForeignSample {
  const { suffix, labels, value } = sample
  const isCount = type === "counter" || suffix === "_bucket" || suffix === "_count"
  if (isCount && !(value >= 0)) throw new Error(`${name}${suffix} counts, so it cannot be ${value}`)
  const bound = boundLabel(type, suffix)
  if (bound === undefined) return sample
  if (labels.every(([label]) => label !== bound)) throw new Error(`${name}${suffix} lacks the label ${bound}`)
  const respelt = labels.map(
    ([label, text]) => [label, label === bound ? String(numberOf(text)) : text] as const,
  )
  return { ...sample, labels: respelt }
}

/** The label that tells the samples of one series apart, which is a number. */
export function boundLabel(type: ForeignType, suffix: string): "le" | "quantile" | undefined {
  if (type === "histogram" && suffix === "_bucket") return "le"
  return type === "summary" && suffix === "" ? "quantile" : undefined
}

function checkBuckets(samples: readonly ForeignSample[], name: string, line: number): void {
  const series = Map.groupBy(samples, ({ labels }) =>
    JSON.stringify(labels.filter(([label]) => label !== "le").toSorted()),
  )
  for (const group of series.values()) {
    const buckets = bucketsOf(group)
    const last = buckets.at(-1)
    const count = group.find(({ suffix }) => suffix === "_count")
    const isWhole =
      last?.bound === Number.POSITIVE_INFINITY &&
      count?.value === last.value &&
      buckets.every(({ bound, value }, index) => {
        const before = buckets[index - 1]
        return before === undefined || (before.bound < bound && before.value <= value)
      })
    if (isWhole) continue
    throw new Error(
      `line ${line}: each series of the histogram ${name} needs buckets that never fall, the last one le="+Inf", and a _count that is the same`,
    )
  }
}

function bucketsOf(samples: readonly ForeignSample[]) {
  return samples
    .filter(({ suffix }) => suffix === "_bucket")
    .map(({ labels, value }) => ({
      bound: numberOf(labels.find(([label]) => label === "le")?.[1] ?? ""),
      value,
    }))
    .sort((a, b) => a.bound - b.bound)
}

/** A number as Go's ParseFloat takes it, as far as anybody writes it. */
export function numberOf(text: string): number {
  if (/^nan$/i.test(text)) return Number.NaN
  if (/^[+]?inf(?:inity)?$/i.test(text)) return Number.POSITIVE_INFINITY
  if (/^-inf(?:inity)?$/i.test(text)) return Number.NEGATIVE_INFINITY
  if (!NUMBER.test(text)) throw new Error(`${JSON.stringify(text.slice(0, 40))} is no number`)
  return Number(text)
}

function timestampOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^-?\d{1,15}$/.test(text)) throw new Error("a timestamp is a whole number of milliseconds")
  return Number(text)
}

function unescaped(text: string, escapes: Escapes): string {
  return text.replace(/\\(.?)/g, (_, letter: string) => {
    const meant = escapes[letter]
    if (meant === undefined) throw new Error(`"\\${letter}" is no escape`)
    return meant
  })
}

function isType(text: string): text is ForeignType {
  return (FOREIGN_TYPES as readonly string[]).includes(text)
}
