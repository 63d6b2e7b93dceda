import { expect, test } from "bun:test"
import { ANY_VERSION, isVersion, isVersionRange, satisfies } from "../../src/plugin/version.ts"

test.each(["1.0.0", "0.0.1", "1.2.3-beta.1", "1.2.3+build.5", "10.20.30-rc.1+x"])(
  "%s is a version",
  (text) => {
    expect(isVersion(text)).toBe(true)
  },
)

test.each(["1.0", "v1.0.0", "1.0.0-", "1.0.0.0", "01.0.0", "", 1])("%p is not a version", (text) => {
  expect(isVersion(text)).toBe(false)
})

test.each([
  "^1.2.0",
  "~1.2",
  "1.x",
  "*",
  ">=1 <2",
  ">=1.0.0",
  "1.2.3",
  "^1 || ^2",
  "1.0.0 - 2.0.0",
  ">=1.0.0-beta.1",
])("%s is a range", (text) => {
  expect(isVersionRange(text)).toBe(true)
})

test.each(["", "latest", "^", "any", "1.2.3.4", "^1 and ^2", 1])("%p is not a range", (text) => {
  expect(isVersionRange(text)).toBe(false)
})

test("a long text that looks like a range is refused without much work", () => {
  expect(isVersionRange(`${"1 ".repeat(50_000)}!`)).toBe(false)
  expect(isVersionRange(`${"1 || ".repeat(25)}!`)).toBe(false)
})

test("versions are compared by their meaning", () => {
  expect(satisfies("1.10.0", "^1.9.0")).toBe(true)
  expect(satisfies("2.0.0", "^1.9.0")).toBe(false)
  expect(satisfies("1.0.0-beta.1", ANY_VERSION)).toBe(true)
})
