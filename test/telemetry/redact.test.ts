import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { GatewayError } from "../../src/errors.ts"
import { createRedactor } from "../../src/telemetry/redact.ts"

const { redact, redactText } = createRedactor()

describe("fields", () => {
  test.each([
    "authorization",
    "Authorization",
    "proxy-authorization",
    "api_key",
    "apiKey",
    "x-api-key",
    "X-Goog-Api-Key",
    "OPENAI_API_KEY",
    "api_keys",
    "token",
    "access_token",
    "refreshToken",
    "secret",
    "client_secret",
    "password",
    "db_passwords",
    "cookie",
    "set-cookie",
    "key",
    "private_key",
    "awsSecretAccessKey",
    "credentials",
  ])("the value of %s is hidden", (name) => {
    expect(redact({ [name]: "hunter2" })).toEqual({ [name]: "[redacted]" })
    expect(redact({ [name]: ["hunter2", { inner: "hunter2" }] })).toEqual({ [name]: "[redacted]" })
  })

  test.each([
    "monkey",
    "keyboard",
    "tokenizer",
    "token_type",
    "keys",
    "key_count",
    "secretary",
    "author",
    "cookies_accepted",
  ])("the value of %s is shown", (name) => {
    expect(redact({ [name]: "value" })).toEqual({ [name]: "value" })
  })

  test("numbers called tokens are counts and stay", () => {
    const fields = { max_tokens: 5, prompt_tokens: 7, first_token: 30_000 }
    expect(redact(fields)).toEqual(fields)
  })

  test("a number is hidden where it may be a password", () => {
    expect(redact({ password: 123456 })).toEqual({ password: "[redacted]" })
  })

  test("that a secret is missing or empty is shown", () => {
    const fields = { api_key: "", token: null, password: undefined, has_token: true }
    expect(redact(fields)).toEqual(fields)
  })

  test("secrets are found at any depth, in arrays, maps, sets, headers and errors' causes", () => {
    const cause = Object.assign(new Error("inner"), { request: { headers: { authorization: "hunter2" } } })
    const hidden = [
      { a: { b: [{ c: { token: "hunter2" } }] } },
      new Map([["list", [new Map([["password", "hunter2"]])]]]),
      new Set([{ secret: "hunter2" }]),
      new Headers({ Authorization: "hunter2", Cookie: "a=hunter2" }),
      new URLSearchParams({ api_key: "hunter2" }),
      new GatewayError("internal_error", "outer", { cause }),
      new AggregateError([cause], "several"),
    ]
    for (const value of hidden) {
      const text = JSON.stringify(redact(value))
      expect(text).not.toContain("hunter2")
      expect(text).toContain("[redacted]")
    }
  })

  test("the original is left as it was", () => {
    const original = { token: "hunter2", list: [{ key: "hunter2" }] }
    redact(original)
    expect(original).toEqual({ token: "hunter2", list: [{ key: "hunter2" }] })
  })
})

describe("text", () => {
  test.each([
    ["authorization: Bearer abc.def-123", "abc.def-123"],
    ["sent BEARER abc123 to it", "abc123"],
    ["Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"],
    ["Authorization: Custom part1 part2", "part2"],
    ['{"authorization": "Custom part1"}', "part1"],
    ["Cookie: session=abc; other=def", "def"],
    ["Incorrect API key provided: sk-proj-abcDEF_123456.", "sk-proj-abcDEF_123456"],
    ["Incorrect API key provided: sk-ab***************wxyz.", "wxyz"],
    ["key sk-ant-api03-abcdef-123456", "abcdef"],
    ["key sk-or-v1-0123456789abcdef", "0123456789abcdef"],
    ["gsk_abcdefghijklmnop", "gsk_"],
    ["(sk_live_abcdef123456)", "sk_live"],
    ["xai-abcdefghijklmnopqrst", "abcdefghijklmnop"],
    ["ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_"],
    ["AKIAIOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"],
    ["AIzaSyA1234567890abcdefghijklmnopqrstuv", "AIza"],
    ["jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "c2lnbmF0dXJl"],
    ["redis://default:hunter2@cache:6379/0", "hunter2"],
    ["postgres://user:hunt@er2@db/x", "er2"],
    ["GET https://example.com/v1?key=hunter2&x=1", "hunter2"],
    ["https://example.com/?a=1&api_key=hunter2#top", "hunter2"],
    ["https://example.com/?access_token=hunter2", "hunter2"],
    ["https://s3.example.com/o?X-Amz-Signature=hunter2", "hunter2"],
    ['{"api_key":"hunter2","model":"m"}', "hunter2"],
    ["OPENAI_API_KEY=hunter2 bun start", "hunter2"],
    ["password: hunter2", "hunter2"],
  ])("%s", (text, secret) => {
    const clean = redactText(text)
    expect(clean).not.toContain(secret)
    expect(clean).toContain("[redacted]")
  })

  test.each([
    "the plugin rate-limiter was reloaded in 12 ms",
    "https://example.com/v1/models?limit=10&order=asc",
    "mail me@example.com about http://example.com/",
    "scikit sk-learn, task-scheduler, risk-assessment-2024",
    "model meta-llama/llama-3.1-70b-instruct, 120 tokens",
    "Unexpected token: } in JSON at position 5",
  ])("ordinary text stays: %s", (text) => {
    expect(redactText(text)).toBe(text)
  })

  test("the rest of a URL survives its credentials", () => {
    expect(redactText("redis://u:p@cache:6379/0")).toBe("redis://[redacted]@cache:6379/0")
    expect(redactText("https://h/p?key=abc&x=1#f")).toBe("https://h/p?key=[redacted]&x=1#f")
  })

  test("names of fields are looked at too", () => {
    expect(redact({ "sk-abcdefgh": 1 })).toEqual({ "[redacted]": 1 })
  })
})

describe("registered secrets", () => {
  const redactor = createRedactor()
  redactor.addSecret("correct horse")
  redactor.addSecret("correct horse battery")
  redactor.addSecret('with"quote')

  test("they vanish from text, values, names of fields and errors", () => {
    const value = {
      text: "it was correct horse all along",
      "correct horse": 1,
      error: new Error("bad: correct horse"),
      url: new URL("https://example.com/correct%20horse"),
      query: "q=correct%20horse",
      json: JSON.stringify({ note: 'with"quote' }),
    }
    const text = JSON.stringify(redactor.redact(value))
    expect(text).not.toContain("horse")
    expect(text).not.toContain("quote")
  })

  test("a secret that begins another leaves nothing of the longer one", () => {
    expect(redactor.redactText("correct horse battery!")).toBe("[redacted]!")
  })

  test("what is too short to be a secret does not blot out ordinary text", () => {
    redactor.addSecret("")
    redactor.addSecret("the")
    expect(redactor.redactText("the model")).toBe("the model")
  })

  test("no part of one is shown where long text is cut", () => {
    const secret = "S".repeat(600)
    redactor.addSecret(secret)
    for (const start of [7000, 7900, 8191, 8192, 8300, 8700]) {
      const text = `${"x".repeat(start)}${secret}${"x".repeat(10_000)}`
      expect(redactor.redactText(text), String(start)).not.toContain("S")
    }
    // Redaction makes text shorter and pulls later text forward.
    const shrinking = `${"correct horse ".repeat(600)}${"x".repeat(300)}${secret}`
    expect(redactor.redactText(shrinking)).not.toContain("S")
  })
})

describe("limits", () => {
  test("long text is cut and says how long it was", () => {
    const clean = redactText("x".repeat(100_000))
    expect(clean).toBe(`${"x".repeat(8192)}… [100000 characters]`)
    expect(redactText("x".repeat(8192))).toBe("x".repeat(8192))
    expect(redactText("x".repeat(8193))).toBe(`${"x".repeat(8192)}… [8193 characters]`)
  })

  test("a list beyond a thousand nodes is cut", () => {
    const list = redact(Array.from({ length: 5000 }, (_, index) => index)) as unknown[]
    expect(list).toHaveLength(1000)
    expect(list.at(-1)).toBe("[cut]")
  })

  test("many nodes are cut wherever they stand", () => {
    const wide = Object.fromEntries(
      Array.from({ length: 100 }, (_, index) => [`f${index}`, Array(100).fill(1)]),
    )
    expect(JSON.stringify(redact(wide)).length).toBeLessThan(5000)
  })

  test("many long texts together are cut", () => {
    const texts = Array.from({ length: 100 }, () => "x".repeat(8000))
    expect(JSON.stringify(redact(texts)).length).toBeLessThan(100_000)
  })

  test("a cycle is named and ends", () => {
    const loop: Record<string, unknown> = { name: "loop" }
    loop.self = [loop]
    expect(redact(loop)).toEqual({ name: "loop", self: ["[circular]"] })
    const error = new Error("loop")
    error.cause = error
    expect(redact(error)).toMatchObject({ message: "loop", cause: "[circular]" })
  })

  test("the same object twice is no cycle", () => {
    const shared = { a: 1 }
    expect(redact([shared, shared])).toEqual([{ a: 1 }, { a: 1 }])
  })

  test("endless depth ends", () => {
    let deep: unknown = "bottom"
    for (let level = 0; level < 50_000; level++) deep = { deep }
    expect(JSON.stringify(redact(deep))).toContain("[too deep]")
  })

  test("a generator without end is not a list to be read", () => {
    function* endless(): Generator<number> {
      for (;;) yield 1
    }
    expect(redact(endless())).toEqual({})
  })
})

describe("odd values", () => {
  test("what JSON has no word for is told in words", () => {
    expect(
      redact({
        big: 10n,
        symbol: Symbol("s"),
        fn: () => {},
        date: new Date(0),
        invalid: new Date(Number.NaN),
        url: new URL("https://u:p@h/"),
        bytes: new Uint8Array(3),
        pattern: /a/,
      }),
    ).toEqual({
      big: "10",
      symbol: "Symbol(s)",
      fn: "[function]",
      date: "1970-01-01T00:00:00.000Z",
      invalid: null,
      url: "https://[redacted]@h/",
      bytes: "[3 bytes]",
      pattern: "/a/",
    })
  })

  test("an error keeps its name, message, own fields, cause and stack", () => {
    const error = new GatewayError("plugin_failed", "it broke", { cause: new TypeError("inner") })
    expect(redact(error)).toMatchObject({
      name: "GatewayError",
      message: "it broke",
      code: "plugin_failed",
      cause: { name: "TypeError", message: "inner" },
      stack: expect.stringContaining("it broke"),
    })
  })

  test("a field that throws does not hide the others", () => {
    const value = {
      before: 1,
      get broken(): never {
        throw new Error("no")
      },
      after: 2,
    }
    expect(redact(value)).toEqual({ before: 1, broken: "[unreadable]", after: 2 })
  })

  test("an object that cannot be looked at is told so", () => {
    const hostile = new Proxy(
      {},
      {
        ownKeys() {
          throw new Error("no")
        },
      },
    )
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    expect(redact([hostile, proxy, 1])).toEqual(["[unreadable]", "[unreadable]", 1])
  })

  test("a toJSON that returns itself, throws, or returns a secret does no harm", () => {
    class Self {
      toJSON(): this {
        return this
      }
    }
    class Throws {
      toJSON(): never {
        throw new Error("no")
      }
    }
    class Tells {
      toJSON(): unknown {
        return { token: "hunter2" }
      }
    }
    expect(redact([new Self(), new Throws(), new Tells()])).toEqual([
      "[circular]",
      "[unreadable]",
      { token: "[redacted]" },
    ])
  })

  test("a field called __proto__ is a field", () => {
    const value = JSON.parse('{"__proto__": {"token": "hunter2"}, "toJSON": 1}')
    expect(JSON.stringify(redact(value))).toBe('{"__proto__":{"token":"[redacted]"},"toJSON":1}')
  })

  test("whatever comes, the copy is JSON and does not hold the secret", () => {
    const redactor = createRedactor()
    redactor.addSecret("s3cr3t-value")
    const key = fc.oneof(fc.string(), fc.constantFrom("token", "authorization", "a"))
    const leaf = fc.oneof(
      fc.anything(),
      fc.string().map((text) => `${text}s3cr3t-value${text}`),
    )
    const nested = fc.oneof(
      leaf,
      fc.array(leaf),
      fc.dictionary(key, leaf),
      fc.array(fc.dictionary(key, leaf)),
    )
    fc.assert(
      fc.property(nested, (value) => {
        expect(JSON.stringify(redactor.redact(value)) ?? "").not.toContain("s3cr3t-value")
      }),
    )
  })
})
