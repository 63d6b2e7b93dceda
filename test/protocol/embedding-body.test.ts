import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { GatewayError } from "../../src/errors.ts"
import { type EmbeddingBody, readEmbeddingBody } from "../../src/protocol/embedding-body.ts"

describe("reading a request for embeddings", () => {
  test("gives the model and the very bytes that came", () => {
    const bytes = bytesOf('{"model":"m","input":"hi"}')
    const body = readEmbeddingBody(bytes)
    expect(body).toMatchObject({ model: "m", operation: "embeddings", stream: false })
    expect(body.bytes).toBe(bytes)
  })

  test("puts another model's name in place and leaves every other byte", () => {
    const spliced = read('{ "input" : [1, 2], "model" :"m" }').withModel("other")
    expect(new TextDecoder().decode(spliced)).toBe('{ "input" : [1, 2], "model" :"other" }')
  })

  test("takes fields that nobody knows, and null for those that may be left out", () => {
    const body = read(
      '{"model":"m","input":"hi","encoding_format":null,"dimensions":null,"user":null,"input_type":"query"}',
    )
    expect(body.object().input_type).toBe("query")
  })

  test.each(['"hi"', '["a","b"]', '[""]', "[1,2]", "[[1,2],[3]]", "[ [ 1 , 2 ] , [ ] ]", '["a\\"]","b"]'])(
    "takes %s as input",
    (input) => {
      expect(read(`{"model":"m","input":${input}}`).object().input).toEqual(JSON.parse(input))
    },
  )
})

describe("a bad request for embeddings", () => {
  const KINDS = '"input" must be a text, a list of texts, a list of token numbers, or a list of such lists'
  test.each([
    ['{"input":"hi"}', "model", '"model" is missing'],
    ['{"model":"","input":"hi"}', "model", '"model" must not be empty'],
    ['{"model":"m"}', "input", '"input" is missing'],
    ['{"model":"m","input":null}', "input", '"input" must be a string or an array, got null'],
    ['{"model":"m","input":{}}', "input", '"input" must be a string or an array, got an object'],
    ['{"model":"m","input":""}', "input", '"input" must not be empty'],
    ['{"model":"m","input":[ ]}', "input", '"input" must not be empty'],
    ['{"model":"m","input":["a",1]}', "input", KINDS],
    ['{"model":"m","input":[1,"a"]}', "input", KINDS],
    ['{"model":"m","input":[1.5]}', "input", KINDS],
    ['{"model":"m","input":[-1]}', "input", KINDS],
    ['{"model":"m","input":[[1],2]}', "input", KINDS],
    ['{"model":"m","input":[[1,"a"]]}', "input", KINDS],
    ['{"model":"m","input":[[[1]]]}', "input", KINDS],
    ['{"model":"m","input":[null]}', "input", KINDS],
    ['{"model":"m","input":[{}]}', "input", KINDS],
    [
      '{"model":"m","input":"hi","encoding_format":"int8"}',
      "encoding_format",
      '"encoding_format" must be "float" or "base64", got "int8"',
    ],
    [
      '{"model":"m","input":"hi","dimensions":0}',
      "dimensions",
      '"dimensions" must be a whole number above 0, got 0',
    ],
    [
      '{"model":"m","input":"hi","dimensions":1.5}',
      "dimensions",
      '"dimensions" must be a whole number above 0, got 1.5',
    ],
    [
      '{"model":"m","input":"hi","dimensions":"3"}',
      "dimensions",
      '"dimensions" must be a number, got a string',
    ],
    ['{"model":"m","Input":"hi","input":"ho"}', "input", '"Input" must be written "input"'],
  ])("%s names its field", (json, param, message) => {
    expect(faultOf(json)).toMatchObject({ code: "invalid_request", status: 400, param, message })
  })

  test("that is empty says what to send", () => {
    expect(faultOf("")).toMatchObject({
      code: "invalid_json",
      message: 'the request body is empty; send a JSON object with "model" and "input"',
    })
  })
})

test("a request that a plugin changed is checked like one from a client", () => {
  const body = read('{"model":"m","input":"hi"}')
  expect(body.replacedBy({ ...body.object(), input: ["a"] }).object()).toEqual({ model: "m", input: ["a"] })
  expect(() => body.replacedBy({ model: "m", messages: [] })).toThrow('"input" is missing')
})

test("whatever the input is, it is taken exactly where it has one of the four forms", () => {
  const text = fc.string({ maxLength: 4 })
  const item = fc.oneof(
    text,
    fc.nat(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constant(null),
    fc.array(fc.oneof(fc.nat(), text), { maxLength: 3 }),
    fc.record({ a: fc.nat() }),
  )
  const list = fc.oneof(
    fc.array(item, { maxLength: 4 }),
    fc.array(text),
    fc.array(fc.nat()),
    fc.array(fc.array(fc.nat(), { maxLength: 3 })),
  )
  fc.assert(
    fc.property(fc.oneof(text, list), fc.constantFrom(0, 1, 3), (input, indent) => {
      const json = JSON.stringify({ model: "m", input }, null, indent)
      expect({ json, isRefused: outcomeOf(json) instanceof GatewayError }).toEqual({
        json,
        isRefused: !isInput(JSON.parse(json).input),
      })
    }),
    { numRuns: 2000 },
  )
})

function isInput(input: unknown): boolean {
  if (!Array.isArray(input)) return typeof input === "string" && input !== ""
  const isToken = (value: unknown) => Number.isInteger(value) && !/[-e.]/.test(JSON.stringify(value))
  const isText = (value: unknown) => typeof value === "string"
  const isTokens = (value: unknown) => Array.isArray(value) && value.every(isToken)
  return input.length > 0 && [isText, isToken, isTokens].some((kind) => input.every(kind))
}

function bytesOf(json: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(json)
}

function read(json: string): EmbeddingBody {
  return readEmbeddingBody(bytesOf(json))
}

function faultOf(json: string): GatewayError {
  const outcome = outcomeOf(json)
  if (outcome instanceof GatewayError) return outcome
  throw new Error(`accepted: ${json}`)
}

function outcomeOf(json: string): EmbeddingBody | GatewayError {
  try {
    return read(json)
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
}
