import { type TString, type TTransform, Type } from "@sinclair/typebox"

const DURATION_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/
const SIZE_BYTES = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const
const PERCENTAGE = /^(?!0+(?:\.0+)?%)\d{1,2}(?:\.\d+)?%$/
const SIZE = /^(\d+(?:\.\d+)?)\s?(B|KB|MB|GB|KiB|MiB|GiB)$/

/** `"250ms"`, `"30s"`, `"1m"`, `"2h"`, `"7d"` → milliseconds. Undefined when the text is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * DURATION_MS[match[2] as keyof typeof DURATION_MS]
}

/** `"32MiB"`, `"500KB"`, `"64 GiB"` → bytes. Undefined when the text is no size. */
export function parseSize(text: string): number | undefined {
  const match = SIZE.exec(text)
  if (match === null) return undefined
  return Math.round(Number(match[1]) * SIZE_BYTES[match[2] as keyof typeof SIZE_BYTES])
}

interface UnitOptions {
  default?: string
  description?: string
}

type Unit = TTransform<TString, number>

/** A schema for text such as `"30s"` that decodes to milliseconds. */
export function Duration(options: UnitOptions = {}): Unit {
  return Type.Transform(
    Type.String({ pattern: DURATION.source, errorMessage: 'must be a duration such as "30s"', ...options }),
  )
    .Decode((text) => parseDuration(text) ?? 0)
    .Encode((ms) => inLargestUnit(ms, DURATION_MS))
}

/** A schema for text such as `"32MiB"` that decodes to bytes. */
export function Bytes(options: UnitOptions = {}): Unit {
  return Type.Transform(
    Type.String({ pattern: SIZE.source, errorMessage: 'must be a size such as "32MiB"', ...options }),
  )
    .Decode((text) => parseSize(text) ?? 0)
    .Encode((bytes) => inLargestUnit(bytes, SIZE_BYTES))
}

/** A schema for text such as `"5%"`, more than nothing and less than all, that decodes to a share of 1. */
export function Percentage(options: UnitOptions = {}): Unit {
  return Type.Transform(
    Type.String({
      pattern: PERCENTAGE.source,
      errorMessage: 'must be a percentage between 0% and 100%, such as "5%"',
      ...options,
    }),
  )
    .Decode((text) => Number.parseFloat(text) / 100)
    .Encode((share) => `${Number((share * 100).toPrecision(12))}%`)
}

/** `600000` → `"10m"`: the largest unit that leaves a whole number. */
function inLargestUnit(amount: number, units: Readonly<Record<string, number>>): string {
  const sizes = Object.entries(units).sort(([, a], [, b]) => b - a)
  const [unit, size] = sizes.find(([, size]) => amount >= size && amount % size === 0) ??
    sizes.at(-1) ?? ["", 1]
  return `${amount / size}${unit}`
}
