import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { ChatRequest } from "../../src/protocol/openai.ts"
import { type KeyedRequest, requestKey } from "../../src/protocol/request-key.ts"

const REQUEST: ChatRequest = { model: "m", messages: [{ role: "user", content: "hi" }] }
const BASE: KeyedRequest = {
  protocol: "openai-chat",
  model: "m",
  provider: undefined,
  stream: false,
  request: REQUEST,
}
const keyOf = (request: unknown) => requestKey({ ...BASE, request: request as ChatRequest })

/** Fields with values as JSON.parse makes them; -0 is written as 0, so it is no other value. */
const jsonValue = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown)
const message = fc.dictionary(fc.string(), jsonValue, { maxKeys: 4 })
const request = fc.record({
  messages: fc.array(message, { minLength: 1, maxLength: 3 }),
  temperature: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
  tools: fc.option(fc.array(jsonValue, { maxLength: 2 }), { nil: undefined }),
})

test("a key is a SHA-256 in hexadecimal", () => {
  expect(requestKey(BASE)).toMatch(/^[0-9a-f]{64}$/)
})

describe("equal requests have one key", () => {
  test("in whatever order their fields are", () => {
    fc.assert(fc.property(request, (sent) => expect(keyOf(reversed(sent))).toBe(keyOf(sent)) === undefined))
  })

  test("with null or without, in the request and in its messages", () => {
    fc.assert(
      fc.property(request, fc.stringMatching(/^x_\w{1,8}$/), (sent, field) => {
        const messages = sent.messages.map((each) => ({ ...each, [field]: null }))
        expect(keyOf({ ...sent, messages, [field]: null })).toBe(keyOf(sent))
      }),
    )
  })

  test.each([
    { model: "other" },
    { stream: true },
    { user: "somebody" },
    { metadata: { a: "b" } },
    { store: true },
    { safety_identifier: "x" },
    { prompt_cache_key: "x" },
    { prompt_cache_retention: "24h" },
  ])("with %j or without, which cannot change the answer", (fields) => {
    expect(keyOf({ ...REQUEST, ...fields })).toBe(keyOf(REQUEST))
  })
})

describe("any other change makes another key", () => {
  test("of two requests", () => {
    fc.assert(
      fc.property(request, request, (one, other) => {
        fc.pre(!Bun.deepEquals(normal(one), normal(other), true))
        expect(keyOf(one)).not.toBe(keyOf(other))
      }),
    )
  })

  test("of one value deep inside", () => {
    fc.assert(
      fc.property(jsonValue, jsonValue, (one, other) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other) && !Bun.deepEquals(one, other, true))
        const withSchema = (value: unknown) => ({ ...REQUEST, tools: [{ parameters: { const: value } }] })
        expect(keyOf(withSchema(one))).not.toBe(keyOf(withSchema(other)))
      }),
    )
  })

  test("of what stands beside the request", () => {
    const others: Partial<KeyedRequest>[] = [
      { protocol: "other" },
      { model: "m2" },
      { provider: "up" },
      { stream: true },
    ]
    const keys = [BASE, ...others.map((other) => ({ ...BASE, ...other }))].map(requestKey)
    expect(new Set(keys).size).toBe(keys.length)
  })

  test("of null to nothing, where null is a value", () => {
    const withSchema = (parameters: object) => keyOf({ ...REQUEST, tools: [{ parameters }] })
    expect(withSchema({ const: null })).not.toBe(withSchema({}))
    expect(keyOf({ ...REQUEST, stop: ["a", null] })).not.toBe(keyOf({ ...REQUEST, stop: ["a"] }))
  })

  test("of one message split into two", () => {
    const split = [
      { role: "user", content: "h" },
      { role: "user", content: "i" },
    ]
    expect(keyOf({ ...REQUEST, messages: split })).not.toBe(keyOf(REQUEST))
  })
})

/** The same with the fields of every object the other way round. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== "object" || value === null) return value
  const fields = Object.entries(value).reverse()
  return Object.fromEntries(fields.map(([key, item]) => [key, reversed(item)]))
}

/** Without the nulls that count as absent. */
function normal(sent: { messages: readonly object[] }): unknown {
  return { ...present(sent), messages: sent.messages.map(present) }
}

function present(object: object): object {
  return Object.fromEntries(
    Object.entries(object).filter(([, value]) => value !== null && value !== undefined),
  )
}
