// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the subject of these tests is text with variables in it
import { afterAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { loadConfig } from "../../src/config/load.ts"
import { faultLines, loadText } from "../support/config.ts"

const directory = mkdtempSync(join(tmpdir(), "leapgate-secrets-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const host = (text: string, env: Record<string, string> = {}) =>
  loadText(`server: { host: '${text}' }`, env).config.server.host

describe("what a variable becomes", () => {
  test.each([
    ["${HOST}", { HOST: "10.1.1.1" }, "10.1.1.1"],
    ["a.${ZONE}.b", { ZONE: "eu" }, "a.eu.b"],
    ["${A}${B}", { A: "x", B: "y" }, "xy"],
    ["${HOST:-::1}", {}, "::1"],
    ["${HOST:-::1}", { HOST: "" }, "::1"],
    ["${HOST:-}", {}, ""],
    ["$${HOST}", { HOST: "no" }, "${HOST}"],
    ["$HOST $", { HOST: "no" }, "$HOST $"],
    ["${HOST}", { HOST: "${OTHER}", OTHER: "no" }, "${OTHER}"],
  ] as const)("%j with %j", (text, env, expected) => {
    expect(host(text, env)).toBe(expected)
  })

  test("a value cannot add keys to the config", () => {
    expect(host("${HOST}", { HOST: "x\nauth: { mode: open }" })).toBe("x\nauth: { mode: open }")
  })

  test("a file's content is taken without the line break at its end, relative to the config", () => {
    writeFileSync(join(directory, "token"), "s3cret\n")
    writeFileSync(join(directory, "config.yaml"), "admin: { token: '${file:./token}' }")
    expect(loadConfig({ env: {}, cwd: directory }).config.admin.token).toBe("s3cret")
  })

  test.each([
    ["server: { port: '${PORT}' }", { PORT: "9000" }, { server: { port: 9000 } }],
    ["server: { port: '${PORT:-9001}' }", {}, { server: { port: 9001 } }],
    ["routing: { failover_enabled: '${ON}' }", { ON: "false" }, { routing: { failover_enabled: false } }],
    [
      "providers: [{ name: a, base_url: 'http://a', models: [{ id: x, input_cost: '${COST}' }] }]",
      { COST: "0.25" },
      { providers: [{ models: [{ input_cost: 0.25 }] }] },
    ],
  ] as const)("%j: a whole value becomes the number or boolean that is wanted", (text, env, expected) => {
    expect(loadText(text, env).config).toMatchObject(expected)
  })

  test("text stays text, whatever it looks like", () => {
    expect(host("${HOST}", { HOST: "123" })).toBe("123")
  })

  test.each([
    ["server: { port: '90${END}' }", { END: "00" }],
    ["server: { port: '${PORT}' }", { PORT: "0x10" }],
    ["server: { port: '9000' }", {}],
    ["routing: { failover_enabled: '${ON}' }", { ON: "yes" }],
  ] as const)("%j with %j does not become a number or boolean", (text, env) => {
    expect(faultLines(text, env)).toHaveLength(1)
  })

  test("braces without a name are a fault that tells how to write them", () => {
    expect(faultLines("server: { host: '${}' }")).toEqual([
      'config.yaml:1:17 server.host has a "${" without a name and a "}"; a literal one is written "$${"',
    ])
    expect(faultLines("server: { host: '${HOST' }")).toHaveLength(1)
    expect(faultLines("server: { host: '${A-B}' }")).toHaveLength(1)
  })
})

describe("a variable that is not set", () => {
  test("leaves out the provider whose key it is, with one reason", () => {
    const loaded = loadText(`
providers:
  - { name: groq, base_url: 'http://a', api_key: '\${GROQ_KEY}' }
  - { name: two, base_url: '\${TWO_URL}', api_key: '\${TWO_KEY}' }
  - { name: local, base_url: 'http://b' }
`)
    expect(loaded.config.providers.map(({ name }) => name)).toEqual(["local"])
    expect(loaded.skippedProviders).toEqual([
      { name: "groq", reason: 'provider "groq" is left out: GROQ_KEY is not set' },
      { name: "two", reason: 'provider "two" is left out: TWO_URL is not set and TWO_KEY is not set' },
    ])
  })

  test("counts as not set for a provider when it is empty", () => {
    const text = "providers: [{ name: groq, base_url: 'http://a', api_key: '${GROQ_KEY}' }]"
    expect(loadText(text, { GROQ_KEY: "" }).skippedProviders[0]?.reason).toContain("GROQ_KEY is empty")
  })

  test("leaves out the provider whose header it is", () => {
    const text = "providers: [{ name: groq, base_url: 'http://a', headers: { X-Team: '${TEAM}' } }]"
    expect(loadText(text).skippedProviders).toHaveLength(1)
  })

  test("does not hide the other faults of that provider, nor move their place", () => {
    expect(
      faultLines(`providers:
  - { name: groq, base_url: 'http://a', api_key: '\${GROQ_KEY}', modles: [] }
  - { name: next, base_url: 7 }`),
    ).toEqual([
      'config.yaml:2:65 providers[0].modles is not a known key; did you mean "models"?',
      'config.yaml:3:29 providers[1].base_url must be a URL such as "https://api.example.com/v1", got 7',
    ])
  })

  test("is a fault for a key of the gateway: it must not open because a secret is missing", () => {
    const text = "auth: { keys: [{ name: app, key: '${APP_KEY}' }] }"
    expect(faultLines(text)).toEqual([
      "config.yaml:1:34 auth.keys[0].key APP_KEY is not set; set it, or remove this key",
    ])
    expect(faultLines(text, { APP_KEY: "" })).toEqual(["config.yaml:1:34 auth.keys[0].key must not be empty"])
  })

  test("is a fault elsewhere, with the way to give a default", () => {
    expect(faultLines("admin: { token: '${ADMIN}' }")).toEqual([
      'config.yaml:1:17 admin.token ADMIN is not set; set it, or give a default as in "${NAME:-default}"',
    ])
  })

  test("is a fault for a file that cannot be read", () => {
    expect(faultLines("admin: { token: '${file:/nowhere/token}' }")[0]).toContain(
      "admin.token file /nowhere/token cannot be read",
    )
  })

  test("drops a value of a plugin's own config with a warning, for the plugin's schema to judge", () => {
    const loaded = loadText(
      "plugins: { configs: { geo: { config: { key: '${GEO_KEY}', zone: '${ZONE}' } } } }",
      {
        ZONE: "eu",
      },
    )
    expect(loaded.config.plugins.configs.geo?.config).toStrictEqual({ zone: "eu" })
    expect(loaded.warnings).toEqual([
      "config.yaml:1:45 plugins.configs.geo.config.key is left out: GEO_KEY is not set",
    ])
  })
})

describe("a plugin's own config", () => {
  test("gets its variables filled in at any depth, and keeps its nulls", () => {
    const loaded = loadText("plugins: { configs: { geo: { config: { a: [{ b: '${X}' }], c: null } } } }", {
      X: "1",
    })
    expect(loaded.config.plugins.configs.geo?.config).toEqual({ a: [{ b: "1" }], c: null })
  })
})
