import { describe, expect, test } from "bun:test"
import { Type } from "@sinclair/typebox"
import { Check, Decode, Encode } from "@sinclair/typebox/value"
import { Bytes, Duration, Percentage, parseDuration, parseSize } from "../../src/config/units.ts"

describe("durations", () => {
  test.each([
    ["250ms", 250],
    ["30s", 30_000],
    ["1.5m", 90_000],
    ["2h", 7_200_000],
    ["7d", 604_800_000],
    ["0s", 0],
  ])("%s", (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  test.each(["", "5", "5 s", "-1s", "1w", "s", "1s1s"])("%j is none", (text) => {
    expect(parseDuration(text)).toBeUndefined()
  })

  test.each(["250ms", "30s", "90s", "2h", "7d"])("%s is written as it was read", (text) => {
    const schema = Type.Object({ pause: Duration() })
    expect(Encode(schema, Decode(schema, { pause: text }))).toEqual({ pause: text })
  })
})

describe("sizes", () => {
  test.each([
    ["0B", 0],
    ["500KB", 500_000],
    ["32MiB", 33_554_432],
    ["1.5 GiB", 1_610_612_736],
  ])("%s", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  test.each(["", "32", "32mb", "-1MB"])("%j is none", (text) => {
    expect(parseSize(text)).toBeUndefined()
  })

  test.each(["1B", "500KB", "32MiB", "3GB"])("%s is written as it was read", (text) => {
    const schema = Type.Object({ size: Bytes() })
    expect(Encode(schema, Decode(schema, { size: text }))).toEqual({ size: text })
  })
})

describe("percentages", () => {
  const schema = Type.Object({ share: Percentage() })

  test.each([
    ["5%", 0.05],
    ["0.1%", 0.001],
    ["99.9%", 0.999],
    ["07%", 0.07],
  ])("%s", (share, part) => {
    expect(Decode(schema, { share }).share).toBeCloseTo(part, 12)
  })

  test.each(["", "5", "0%", "0.0%", "100%", "-1%", "5 %", "5%%", ".5%"])("%j is none", (share) => {
    expect(Check(schema, { share })).toBe(false)
  })

  test.each(["5%", "0.1%", "12.5%", "29%", "57%"])("%s is written as it was read", (share) => {
    expect(Encode(schema, Decode(schema, { share }))).toEqual({ share })
  })
})
