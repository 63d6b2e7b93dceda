import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { encodedAs, vectorFromBase64, vectorToBase64 } from "../../src/protocol/embedding-reply.ts"
import type { EmbeddingResponse } from "../../src/protocol/openai.ts"

const response = (...embeddings: (number[] | string)[]): EmbeddingResponse => ({
  object: "list",
  data: embeddings.map((embedding, index) => ({ object: "embedding", index, embedding })),
  model: "m",
  usage: { prompt_tokens: 1, total_tokens: 1 },
})
const vectorsOf = (encoded: EmbeddingResponse | undefined) => encoded?.data.map(({ embedding }) => embedding)

test("base64 holds little-endian 32-bit floats", () => {
  expect(vectorToBase64([1, -2, 0.5])).toBe("AACAPwAAAMAAAAA/")
  expect(vectorFromBase64("AACAPwAAAMAAAAA/")).toEqual([1, -2, 0.5])
})

test("32-bit floats come back from base64 as they were", () => {
  fc.assert(
    fc.property(fc.array(fc.float({ noNaN: true })), (vector) => {
      expect(vectorFromBase64(vectorToBase64(vector))).toEqual(vector)
    }),
  )
})

test("base64 of whole floats comes back from numbers as it was", () => {
  fc.assert(
    fc.property(fc.array(fc.float({ noNaN: true }), { minLength: 1 }), (vector) => {
      const text = Buffer.from(Float32Array.from(vector).buffer).toString("base64")
      expect(vectorToBase64(vectorFromBase64(text) ?? [])).toBe(text)
    }),
  )
})

test.each(["AACA", "no base64!", "AACAPwAA"])("%j is no vector", (text) => {
  expect(vectorFromBase64(text)).toBeUndefined()
})

describe("a response is encoded as asked", () => {
  test.each([undefined, null, "float"] as const)("as numbers for %p", (format) => {
    expect(vectorsOf(encodedAs(response([1, 2], "AACAPw=="), format))).toEqual([[1, 2], [1]])
  })

  test("as base64", () => {
    expect(vectorsOf(encodedAs(response([1], "AACAPw=="), "base64"))).toEqual(["AACAPw==", "AACAPw=="])
  })

  test("with all its other fields", () => {
    const { data, ...rest } = response([1])
    expect(encodedAs({ ...rest, data, extra: 1 }, "base64")).toMatchObject({ ...rest, extra: 1 })
  })

  test.each([
    ["text that is no base64", "no!"],
    ["a vector without numbers", []],
    ["a vector with something that is no number", [1, Number.NaN]],
    ["nothing", undefined as never],
  ])("not one with %s", (_, embedding) => {
    expect(encodedAs(response([1], embedding), "base64")).toBeUndefined()
    expect(encodedAs(response([1], embedding), "float")).toBeUndefined()
  })
})
