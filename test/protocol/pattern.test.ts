import { expect, test } from "bun:test"
import { matcher } from "../../src/protocol/pattern.ts"

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
])("%s on %s: %p", (pattern, text, expected) => {
  expect(matcher([pattern])(text)).toBe(expected)
})

test("several patterns fit what any of them fits, and none fits nothing", () => {
  expect(matcher(["/a", "/b"])("/b")).toBe(true)
  expect(matcher(["/a", "/b"])("/c")).toBe(false)
  expect(matcher([])("/x")).toBe(false)
})
