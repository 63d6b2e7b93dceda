import { describe, expect, test } from "bun:test"
import { ERRORS, type ErrorCode, GatewayError } from "../../src/errors.ts"
import {
  canFailOver,
  classifyErrorEvent,
  classifyResponse,
  readFault,
} from "../../src/protocol/upstream-error.ts"

const OPENAI_ERROR = { error: { message: "oh no", type: "some_error", code: "some_code", param: "messages" } }

describe("a status", () => {
  test.each([
    [302, "upstream_invalid_reply", 502, true],
    [400, "upstream_rejected", 400, false],
    [401, "upstream_auth_failed", 502, true],
    [402, "upstream_auth_failed", 502, true],
    [403, "upstream_auth_failed", 502, true],
    [404, "upstream_rejected", 404, true],
    [408, "upstream_timeout", 504, true],
    [413, "upstream_rejected", 413, false],
    [422, "upstream_rejected", 422, false],
    [429, "upstream_rate_limited", 429, true],
    [500, "upstream_server_error", 502, true],
    [503, "upstream_server_error", 502, true],
    [504, "upstream_timeout", 504, true],
    [529, "upstream_server_error", 502, true],
  ] as const)(
    "of %d is %s, answered with %d; another provider may help: %p",
    (upstream, code, status, mayHelp) => {
      const error = classify({ status: upstream, body: JSON.stringify(OPENAI_ERROR) })
      expect(error).toMatchObject({ code, status, param: "messages" })
      expect(error.message).toStartWith('provider "acme" ')
      expect(error.message).toEndWith(": oh no")
      expect(canFailOver(error)).toBe(mayHelp)
    },
  )

  test("of a refused key says whose key, and where to look", () => {
    expect(classify({ status: 401, body: "" }).message).toBe(
      'provider "acme" refused the gateway\'s key for "m-1": check the api_key in its config (status 401)',
    )
  })

  test("of 400 that refuses the key is no fault of the caller", () => {
    const body = JSON.stringify([
      {
        error: {
          code: 400,
          message: "API key not valid. Please pass a valid API key.",
          status: "INVALID_ARGUMENT",
        },
      },
    ])
    expect(classify({ status: 400, body }).code).toBe("upstream_auth_failed")
  })
})

describe("a body", () => {
  test.each([
    [
      "OpenAI's",
      OPENAI_ERROR,
      { message: "oh no", type: "some_error", code: "some_code", param: "messages" },
    ],
    [
      "Anthropic's",
      { type: "error", error: { type: "overloaded_error", message: "Overloaded" } },
      { message: "Overloaded", type: "overloaded_error" },
    ],
    [
      "Gemini's",
      [{ error: { code: 429, message: "quota", status: "RESOURCE_EXHAUSTED" } }],
      { message: "quota", type: "RESOURCE_EXHAUSTED", code: "429" },
    ],
    [
      "Mistral's",
      { object: "error", message: "bad", type: "invalid_request_error", param: null, code: "1" },
      { message: "bad", type: "invalid_request_error", code: "1" },
    ],
    ["Ollama's", { error: "model not found" }, { message: "model not found" }],
    ["FastAPI's", { detail: "Not Found" }, { message: "Not Found" }],
    ["a list of details", { detail: [{ msg: "field required" }] }, { message: '[{"msg":"field required"}]' }],
    ["an empty", {}, { message: "" }],
    ["a null", null, { message: "" }],
  ])("like %s is understood", (_, body, fault) => {
    expect(readFault(body)).toEqual(fault)
    expect(classify({ status: 500, body: JSON.stringify(body) }).details).toEqual({
      provider: "acme",
      model: "m-1",
      status: 500,
      upstream: fault,
    })
  })

  test("of plain text is quoted", () => {
    expect(classify({ status: 500, body: " upstream connect error \n" }).message).toBe(
      'provider "acme" failed for "m-1" (status 500): upstream connect error',
    )
  })

  test("of HTML is left out", () => {
    expect(classify({ status: 502, body: "\n<!doctype html><h1>Bad Gateway</h1>" }).message).toBe(
      'provider "acme" failed for "m-1" (status 502)',
    )
  })

  test("of any length takes 2 KB of the message at most", () => {
    const { message } = classify({ status: 500, body: "no! ".repeat(100_000) })
    expect(message.length).toBeLessThan(2200)
  })

  test.each([
    "sk-proj-abcdefgh12345678",
    "sk-ant-api03-abc_def-ghi",
    "sk-abc***************wxyz",
    "gsk_abcdefghijklmnop",
    "AIzaSyA1234567890abcdefg",
    "hf_abcdefghijklmno",
    "0123456789abcdef0123456789abcdef",
  ])("does not give away the key %s", (key) => {
    for (const body of [
      `Incorrect API key provided: ${key}.`,
      `{"error":{"message":"bad ${key}","code":"${key}"}}`,
    ]) {
      const error = classify({ status: 401, body })
      expect(JSON.stringify([error.message, error.details])).not.toContain(key)
      expect(error.message).toContain("[redacted]")
    }
  })

  test("does not give away a bearer token of any form", () => {
    expect(classify({ status: 400, body: "got 'Authorization: Bearer a.b-c'" }).message).not.toContain(
      "a.b-c",
    )
  })

  test("may name models and request ids", () => {
    const message = "model claude-3-5-sonnet-20241022 is gone (req_011CQabcDEF123)"
    expect(classify({ status: 404, body: message }).message).toEndWith(message)
  })
})

describe("when to try again", () => {
  const date = "Sun, 06 Nov 1994 08:49:37 GMT"

  test.each([
    [{ "retry-after-ms": "1500" }, 1500],
    [{ "retry-after-ms": "12.5", "retry-after": "9" }, 12.5],
    [{ "retry-after": "37" }, 37_000],
    [{ "retry-after": "0.5" }, 500],
    [{ "retry-after": "0" }, 0],
    [{ "retry-after": "999999999" }, 3_600_000],
    [{ "retry-after": "Sun, 06 Nov 1994 08:50:37 GMT", date }, 60_000],
    [{ "retry-after": "Sun, 06 Nov 1994 08:00:00 GMT", date }, 0],
    [{ "retry-after": "Sun, 06 Nov 1994 08:50:37 GMT" }, undefined],
    [{ "retry-after": "soon" }, undefined],
    [{ "retry-after": "-5", date }, undefined],
    [{}, undefined],
  ])("%j is %p ms", (headers, retryAfterMs) => {
    expect(
      classify({ status: 429, headers: new Headers(headers as Record<string, string>), body: "" })
        .retryAfterMs,
    ).toBe(retryAfterMs)
  })
})

describe("an error event", () => {
  test.each([
    [{ message: "m", code: "429" }, "upstream_rate_limited"],
    [{ message: "m", code: "502" }, "upstream_server_error"],
    [{ message: "m", type: "rate_limit_error" }, "upstream_rate_limited"],
    [{ message: "m", code: "insufficient_quota" }, "upstream_rate_limited"],
    [{ message: "m", type: "RESOURCE_EXHAUSTED" }, "upstream_rate_limited"],
    [{ message: "m", type: "authentication_error" }, "upstream_auth_failed"],
    [{ message: "m", type: "invalid_request_error" }, "upstream_rejected"],
    [{ message: "m", code: "context_length_exceeded" }, "upstream_rejected"],
    [{ message: "m", type: "overloaded_error" }, "upstream_server_error"],
    [{ message: "m" }, "upstream_server_error"],
  ] as const)("%j is %s", (fault, code) => {
    const error = classifyErrorEvent({ provider: "acme", model: "m-1" }, fault)
    expect(error.code).toBe(code)
    expect(error.message).toEndWith(": m")
  })
})

test("errors of the caller are not tried elsewhere; all others are", () => {
  const decided = Object.keys(ERRORS).filter((code) => !canFailOver(new GatewayError(code as ErrorCode, "x")))
  for (const code of decided) expect(["invalid_input", "auth"]).toContain(ERRORS[code as ErrorCode].kind)
  expect(decided).toContain("invalid_api_key")
  expect(decided).not.toContain("upstream_auth_failed")
  expect(decided).not.toContain("internal_error")
})

function classify(response: { status: number; headers?: Headers; body: string }): GatewayError {
  return classifyResponse({ provider: "acme", model: "m-1", headers: new Headers(), ...response })
}
