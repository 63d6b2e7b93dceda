import { expect, test } from "bun:test"
import { peekUsage } from "../../src/protocol/usage.ts"

const USAGE = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }
const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

test("usage is found at the end of a completion", () => {
  expect(peekUsage(bytesOf({ choices: [], usage: USAGE, system_fingerprint: "x" }))).toEqual(USAGE)
})

test("nested details stay with the usage", () => {
  const usage = { ...USAGE, prompt_tokens_details: { cached_tokens: 2, note: 'a "}" in a string' } }
  expect(peekUsage(bytesOf({ choices: [], usage }))).toEqual(usage)
})

test("an answer that talks about usage is not mistaken for it", () => {
  const content = '"usage": {"prompt_tokens": 999, "completion_tokens": 1}'
  expect(peekUsage(bytesOf({ usage: USAGE, choices: [{ message: { content } }] }))).toEqual(USAGE)
  expect(peekUsage(bytesOf({ choices: [{ message: { content } }] }))).toBeUndefined()
})

test("a missing total is added up", () => {
  expect(peekUsage(bytesOf({ usage: { prompt_tokens: 3, completion_tokens: 4 } }))).toEqual(USAGE)
})

test.each([{ usage: null }, { usage: 5 }, { usage: {} }, { usage: { prompt_tokens: "3" } }, {}])(
  "%j has no usage",
  (body) => {
    expect(peekUsage(bytesOf(body))).toBeUndefined()
  },
)

test("a body that was cut off in its usage has none", () => {
  expect(peekUsage(new TextEncoder().encode('{"usage":{"prompt_tokens":3,'))).toBeUndefined()
})
