// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the config has variables of its own
import { describe, expect, test } from "bun:test"
import { faultLines, faultsIn, refusalOf } from "../support/config.ts"

const provider = (fields: string) =>
  `providers:\n  - name: groq\n    base_url: https://groq.example/v1\n${fields}`

describe("where and what", () => {
  test("a fault names file, line, column, path, what is wanted and what is there", () => {
    expect(faultLines(provider("    timeout:\n      connect: 5 seconds"))).toEqual([
      'config.yaml:5:16 providers[0].timeout.connect must be a duration such as "30s", got "5 seconds"',
    ])
  })

  test("the same fault is there for machines", () => {
    expect(faultsIn("server: { port: 70000 }")).toEqual([
      {
        file: "config.yaml",
        line: 1,
        column: 17,
        path: "server.port",
        message: "must be an integer from 0 to 65535, got 70000",
      },
    ])
  })

  test("all faults are reported at once, in the order of the file, whichever check found them", () => {
    const lines = faultLines(
      `auth:\n  mode: shut\n  keys:\n    - { name: a, key: one }\n    - { name: a, key: "\${NOPE}" }\nserver:\n  prot: 1`,
    )
    expect(lines).toEqual([
      'config.yaml:2:9 auth.mode must be one of: keys, open, got "shut"',
      "config.yaml:5:15 auth.keys[1].name is the same as auth.keys[0].name; each must be different",
      "config.yaml:5:23 auth.keys[1].key NOPE is not set; set it, or remove this key",
      'config.yaml:7:3 server.prot is not a known key; did you mean "port"?',
    ])
  })

  test("a value that came in through a YAML alias is reported where it is written", () => {
    const [fault] = faultsIn(
      'providers:\n  - { name: a, base_url: "http://a", timeout: &t { connect: 1 s } }\n  - { name: b, base_url: "http://b", timeout: *t }',
    )
    expect(fault).toMatchObject({ line: 2, path: "providers[0].timeout.connect" })
  })

  test("what is required and missing is reported where it should be", () => {
    expect(faultLines("providers:\n  - name: groq")).toEqual([
      "config.yaml:2:5 providers[0].base_url is required",
    ])
  })

  test("a key that resembles no known one is answered with the known ones", () => {
    expect(faultLines("admin: { zzzzzzzz: 1 }")).toEqual([
      "config.yaml:1:10 admin.zzzzzzzz is not a known key; known here: token, listen",
    ])
  })
})

describe("what is wanted, in words", () => {
  test.each([
    ["routing: { failover_enabled: 3 }", "routing.failover_enabled must be true or false, got 3"],
    ["plugins: { max_plugins: 0 }", "plugins.max_plugins must be an integer of at least 1, got 0"],
    ["models: { fast: [] }", "models.fast must be a list that is not empty, got an empty list"],
    ["models: { fast: x }", "models.fast must be a list that is not empty, got text"],
    ["server: [1]", "server must be a mapping, got a list"],
    ["server: false", "server must be a mapping, got false"],
    ["- 1", "the file must be a mapping, got a list"],
    [
      provider("    models: [7]"),
      "providers[0].models[0] must be text that is not empty or a mapping, got 7",
    ],
    [
      provider("    models: [{ id: x, quality: 3 }]"),
      "providers[0].models[0].quality must be a number from 0 to 1, got 3",
    ],
    [
      'providers: [{ name: Groq, base_url: "http://a" }]',
      'providers[0].name must be lower-case letters, digits, . _ -, got "Groq"',
    ],
  ])("%j", (text, expected) => {
    expect(faultLines(text).map((line) => line.replace(/^\S+ /, ""))).toEqual([expected])
  })
})

describe("syntax", () => {
  test("only the first syntax error is reported: those behind it are its consequences", () => {
    const lines = faultLines("server: {\nauth:\n  - [\n}}")
    expect(lines).toHaveLength(1)
  })

  test("every key that stands twice is reported", () => {
    expect(faultLines("server: {}\nauth: {}\nserver: {}\nauth: {}")).toEqual([
      "config.yaml:3:1 this key stands here a second time",
      "config.yaml:4:1 this key stands here a second time",
    ])
  })

  test("a variable without quotes inside braces is explained", () => {
    const [line] = faultLines("auth: { keys: [{ name: a, key: ${KEY} }] }")
    expect(line).toContain(`inside { } and [ ] a variable needs quotes: "\${NAME}"`)
  })

  test("an unknown tag is a fault", () => {
    expect(faultLines("server: { host: !env HOST }")).toEqual(["config.yaml:1:17 unresolved tag"])
  })
})

describe("secrets", () => {
  const SECRET = "sk-live-0123456789"

  test.each([
    `auth: { keys: [${SECRET}] }`,
    `auth: { keys: ${SECRET} }`,
    `auth: { keys: [{ name: a, key: [${SECRET}] }] }`,
    `admin: ${SECRET}`,
    `admin: { token: { a: ${SECRET} } }`,
    `providers: [{ name: a, base_url: "htp://me:${SECRET}@host" }]`,
    `providers: [{ name: a, base_url: "htp://me:${SECRET}${"-".repeat(60)}@host" }]`,
    `providers: [{ name: a, base_url: "http://a", api_key: "${SECRET} and more" }]`,
    `providers: [{ name: a, base_url: "http://a", headers: ${SECRET} }]`,
    `auth: { keys: [{ name: a, key: ${SECRET} }, { name: b, key: ${SECRET} }] }`,
    `auth: { keys: [{ name: a, key: *${SECRET} }] }`,
    `auth:\n  keys: @${SECRET}`,
    `auth:\n  keys: "${SECRET}" "${SECRET}"`,
    `auth:\n  keys: |${SECRET}\n`,
  ])("%j shows no secret in its faults", (text) => {
    const refusal = refusalOf(text)
    expect(refusal.message + JSON.stringify(refusal.details)).not.toContain(SECRET)
  })

  test("a value that came from a variable is not shown; the variable is named", () => {
    const refusal = refusalOf(`server: { drain_timeout: "\${PAUSE}" }`, { PAUSE: SECRET })
    expect(refusal.message).not.toContain(SECRET)
    expect(refusal.message).toContain("(its value comes from PAUSE)")
  })
})
