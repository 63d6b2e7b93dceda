import { expect, test } from "bun:test"
import { pathMatcher } from "../../src/protocol/path-pattern.ts"

test.each([
  ["/v1/*", "/v1/chat/completions", true],
  ["/v1/*", "/v1/", true],
  ["/v1/*", "/v1", false],
  ["/v1/*", "/v2/v1/x", false],
  ["/v1/models", "/v1/models", true],
  ["/v1/models", "/v1/models/x", false],
  ["*/completions", "/v1/chat/completions", true],
  ["/v1/*/completions", "/v1/chat/completions", true],
  ["/a*a", "/a", false],
  ["/a*b*c", "/a-c-b", false],
  ["/a*b*c", "/a-b-c", true],
  ["*", "/anything", true],
  ["/v1.0/*", "/v1x0/y", false],
])("%s on %s: %p", (pattern, path, expected) => {
  expect(pathMatcher([pattern])(path)).toBe(expected)
})

test("no pattern matches every path, several match any of theirs", () => {
  expect(pathMatcher(undefined)("/x")).toBe(true)
  expect(pathMatcher([])("/x")).toBe(true)
  expect(pathMatcher(["/a", "/b"])("/b")).toBe(true)
  expect(pathMatcher(["/a", "/b"])("/c")).toBe(false)
})
