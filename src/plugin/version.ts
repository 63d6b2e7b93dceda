/** Semantic versions (https://semver.org) and the ranges that `Bun.semver` understands. */
const VERSION =
  /^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z.-]+)?$/

/** `Bun.semver` takes every text for a range and nonsense for "any version": only well-formed ones may reach it. */
const COMPARATOR = /^(?:[~^=]|[<>]=?)?v?(?:\d+|[xX*])(?:\.(?:\d+|[xX*])){0,2}(?:[-+][0-9A-Za-z.+-]+)?$/
const SEPARATOR = /\|\||\s-\s|\s/
const MAX_LENGTH = 128

/** Any version, pre-releases included. */
export const ANY_VERSION = "*"

export function isVersion(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_LENGTH && VERSION.test(value)
}

export function isVersionRange(value: unknown): value is string {
  if (typeof value !== "string" || value.length > MAX_LENGTH) return false
  const comparators = value.split(SEPARATOR).filter((part) => part !== "")
  return comparators.length > 0 && comparators.every((comparator) => COMPARATOR.test(comparator))
}

export function satisfies(version: string, range: string): boolean {
  return range === ANY_VERSION || Bun.semver.satisfies(version, range)
}
