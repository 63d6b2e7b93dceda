import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { GatewayError } from "../../src/errors.ts"
import { ChatBody, readChatBody } from "../../src/protocol/chat-body.ts"
import type { ChatRequest } from "../../src/protocol/openai.ts"

const MESSAGES = '"messages":[{"role":"user","content":"hi"}]'

describe("reading a request", () => {
  test("gives the model, whether it streams, and the very bytes that came", () => {
    const bytes = bytesOf(`{"model":"gpt-x",${MESSAGES},"stream":true}`)
    const body = readChatBody(bytes)
    expect(body.model).toBe("gpt-x")
    expect(body.stream).toBe(true)
    expect(body.bytes).toBe(bytes)
  })

  test.each(["", ',"stream":false', ',"stream":null'])("with %p does not stream", (stream) => {
    expect(read(`{"model":"m",${MESSAGES}${stream}}`).stream).toBe(false)
  })

  test("decodes escapes and other scripts in the model's name", () => {
    expect(read(`{"model":"gr\\u00fcn-\\ud83c\\udf0d",${MESSAGES}}`).model).toBe("grün-🌍")
    expect(read(`{"model":"grün",${MESSAGES}}`).model).toBe("grün")
  })

  test("takes fields that nobody knows", () => {
    const body = read(`{"model":"m",${MESSAGES},"x_future":{"a":[1]},"Temperature":"hot"}`)
    expect(body.object().x_future).toEqual({ a: [1] })
  })

  test("takes null for every field that may be left out", () => {
    const fields = ["temperature", "stop", "tools", "user", "stream_options", "n", "metadata"]
    expect(read(`{"model":"m",${MESSAGES},${fields.map((field) => `"${field}":null`).join()}}`).model).toBe(
      "m",
    )
  })

  test("drops a byte order mark, which JSON does not allow providers to get", () => {
    const body = read(`\uFEFF{"model":"m",${MESSAGES}}`)
    expect(text(body.bytes)).toBe(`{"model":"m",${MESSAGES}}`)
    expect(text(body.withModel("other"))).toBe(`{"model":"other",${MESSAGES}}`)
  })
})

describe("a bad request", () => {
  test.each([
    ["", 'the request body is empty; send a JSON object with "model" and "messages"'],
    ['{"model":"m",}', 'the request body is not valid JSON: unexpected "}" at line 1, column 14'],
  ])("%p is invalid_json", (json, message) => {
    expect(faultOf(json)).toMatchObject({ code: "invalid_json", status: 400, message })
  })

  test.each(["[]", "null", '"model"', "1"])("%p is not an object", (json) => {
    expect(faultOf(json)).toMatchObject({
      code: "invalid_request",
      message: "the request body must be a JSON object",
    })
  })

  test.each([
    [`{${MESSAGES}}`, "model", '"model" is missing'],
    [`{"model":"",${MESSAGES}}`, "model", '"model" must not be empty'],
    [`{"model":null,${MESSAGES}}`, "model", '"model" must be a string, got null'],
    [`{"model":["m"],${MESSAGES}}`, "model", '"model" must be a string, got an array'],
    [
      `{"model":"${"m".repeat(257)}",${MESSAGES}}`,
      "model",
      '"model" must have at most 256 characters, got 257',
    ],
    ['{"model":"m"}', "messages", '"messages" is missing'],
    ['{"model":"m","messages":null}', "messages", '"messages" must be an array, got null'],
    ['{"model":"m","messages":"hi"}', "messages", '"messages" must be an array, got a string'],
    ['{"model":"m","messages":[ \n ]}', "messages", '"messages" must have at least one message'],
    [`{"model":"m",${MESSAGES},"stream":"true"}`, "stream", '"stream" must be a boolean, got a string'],
    [`{"model":"m",${MESSAGES},"stream":1}`, "stream", '"stream" must be a boolean, got a number'],
    [
      `{"model":"m",${MESSAGES},"temperature":"1"}`,
      "temperature",
      '"temperature" must be a number, got a string',
    ],
    [`{"model":"m",${MESSAGES},"stop":{}}`, "stop", '"stop" must be a string or an array, got an object'],
    [`{"model":"m",${MESSAGES},"tools":{}}`, "tools", '"tools" must be an array, got an object'],
    [
      `{"model":"m",${MESSAGES},"stream_options":[]}`,
      "stream_options",
      '"stream_options" must be an object, got an array',
    ],
  ])("%p names its field", (json, param, message) => {
    expect(faultOf(json)).toMatchObject({ code: "invalid_request", status: 400, param, message })
  })

  test.each([
    ["Model", "model"],
    ["STREAM", "stream"],
    ["\\u017ftream", "stream"],
    ["meſſages", "messages"],
  ])("with a %p that some parsers take for %p is refused", (key, meant) => {
    expect(faultOf(`{"model":"m",${MESSAGES},"${key}":true}`)).toMatchObject({
      code: "invalid_request",
      param: meant,
    })
  })
})

describe("a key that occurs twice", () => {
  test("is sent once, as the gateway understood it", () => {
    const body = read(`{"model":"first","stream":true,${MESSAGES},"mod\\u0065l":"last","stream":false}`)
    expect(body.model).toBe("last")
    expect(body.stream).toBe(false)
    expect(text(body.bytes)).toBe(`{"model":"last","stream":false,${MESSAGES}}`)
    expect(text(body.withModel("x"))).toBe(`{"model":"x","stream":false,${MESSAGES}}`)
  })

  test("counts for the checks as it will be sent", () => {
    expect(faultOf(`{"model":"m",${MESSAGES},"messages":[]}`)).toMatchObject({ param: "messages" })
    expect(read(`{"model":1,"model":"m",${MESSAGES}}`).model).toBe("m")
  })
})

describe("another model", () => {
  test("is spliced in; every other byte stays", () => {
    const json = `{ "x":[1.50,1e2,"gr\\u00fcn"] ,\n"model" :  "a/b" , ${MESSAGES} }`
    expect(text(read(json).withModel("gpt-4o"))).toBe(json.replace('"a/b"', '"gpt-4o"'))
  })

  test("of the same name leaves the bytes untouched", () => {
    const body = read(`{"model":"m",${MESSAGES}}`)
    expect(body.withModel("m")).toBe(body.bytes)
  })

  test("may have any name", () => {
    const body = read(`{"model":"m",${MESSAGES}}`)
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (name) => {
        expect(JSON.parse(text(body.withModel(name)))).toEqual({ ...body.object(), model: name })
      }),
    )
  })
})

describe("the object", () => {
  test("is parsed once and frozen throughout", () => {
    const body = read(`{"model":"m",${MESSAGES},"tools":[{"function":{"parameters":{"a":1}}}]}`)
    const request = body.object() as ChatRequest
    expect(body.object()).toBe(request)
    expect(() => {
      request.model = "other"
    }).toThrow(TypeError)
    expect(() => request.messages.push({ role: "user" })).toThrow(TypeError)
    expect(Object.isFrozen(request.tools?.[0]?.function?.parameters)).toBe(true)
  })

  test("has no __proto__ keys, at any depth, that a copy would obey", () => {
    const evil = '"__proto__":{"isAdmin":true}'
    const body = read(
      `{"model":"m",${evil},"messages":[{"role":"user","content":"x",${evil}}],"a":{"b":{${evil}}}}`,
    )
    const request = body.object()
    const copies = [
      Object.assign({}, request),
      Object.assign({}, request.messages[0]),
      Object.assign({}, (request.a as { b: object }).b),
    ]
    for (const copy of copies) {
      expect(Object.hasOwn(copy, "__proto__")).toBe(false)
      expect((copy as { isAdmin?: boolean }).isAdmin).toBeUndefined()
    }
    expect(text(body.bytes)).toContain("__proto__")
  })
})

describe("a request that a plugin changed", () => {
  test("is written and checked like one from a client", () => {
    const body = ChatBody.fromObject({
      model: "m",
      messages: [{ role: "user", content: "grün" }],
      stream: true,
    })
    expect(text(body.bytes)).toBe('{"model":"m","messages":[{"role":"user","content":"grün"}],"stream":true}')
    expect(body.stream).toBe(true)
    expect(() => ChatBody.fromObject({ model: "m", messages: [] })).toThrow('"messages" must have')
  })

  test("may be built from the frozen one", () => {
    const before = read(`{"model":"m",${MESSAGES}}`).object()
    const body = ChatBody.fromObject({ ...before, temperature: 0 })
    expect(body.object()).toEqual({ ...before, temperature: 0 })
  })

  test("that cannot be written is an error that says so", () => {
    const cyclic: Record<string, unknown> = {}
    cyclic.self = cyclic
    expect(() => ChatBody.fromObject({ model: "m", messages: [], cyclic })).toThrow(
      "cannot be written as JSON",
    )
  })
})

test("what JSON.parse reads is what the gateway reads", () => {
  const value = fc.constantFrom("true", "false", "null", '"s"', "1", "[1]", "[]", "{}")
  const key = fc.constantFrom('"model"', '"stream"', '"messages"', '"mod\\u0065l"', '"__proto__"', '"x"')
  fc.assert(
    fc.property(fc.array(fc.tuple(key, value), { maxLength: 8 }), (members) => {
      const json = `{"model":"m","messages":[1]${members.map((member) => `,${member.join(":")}`).join("")}}`
      const parsed = JSON.parse(json) as ChatRequest
      const body = attempt(() => read(json))
      if (body instanceof GatewayError) return
      expect(body.model).toBe(parsed.model)
      expect(body.stream).toBe(parsed.stream === true)
      expect(JSON.parse(text(body.bytes))).toEqual(parsed)
    }),
    { numRuns: 2000 },
  )
})

function bytesOf(json: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(json)
}

function read(json: string): ChatBody {
  return readChatBody(bytesOf(json))
}

function text(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)
}

function faultOf(json: string): GatewayError {
  const body = attempt(() => read(json))
  if (body instanceof GatewayError) return body
  throw new Error(`accepted: ${json}`)
}

function attempt(run: () => ChatBody): ChatBody | GatewayError {
  try {
    return run()
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
}
