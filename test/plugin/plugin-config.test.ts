import { describe, expect, test } from "bun:test"
import { type TObject, Type } from "@sinclair/typebox"
import { resolveConfig } from "../../src/plugin/plugin-config.ts"
import { Type as PluginType } from "../../src/plugin/sdk.ts"

function faultOf(schema: TObject | undefined, raw: unknown): string {
  try {
    resolveConfig("rate-limiter", schema, raw)
    return "no fault"
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown)
  }
}

const LIMITER = Type.Object({
  max_requests: Type.Integer({ minimum: 1, default: 100 }),
  window: PluginType.Duration({ default: "1m" }),
  identifier: Type.Union([Type.Literal("ip"), Type.Literal("api_key")], { default: "ip" }),
  routes: Type.Array(Type.String(), { default: ["/v1/*"] }),
})

describe("a configuration that is valid", () => {
  test("gets the defaults of what it leaves out", () => {
    expect(resolveConfig("rate-limiter", LIMITER, { max_requests: 5 })).toEqual({
      max_requests: 5,
      window: 60_000,
      identifier: "ip",
      routes: ["/v1/*"],
    })
  })

  test("has its units decoded to milliseconds and bytes", () => {
    const schema = Type.Object({ timeout: PluginType.Duration(), limit: PluginType.Bytes() })
    expect(resolveConfig("x", schema, { timeout: "1.5s", limit: "2KiB" })).toEqual({
      timeout: 1500,
      limit: 2048,
    })
  })

  test("is frozen through and through, and the file's own value is left alone", () => {
    const raw = { routes: ["/api/*"] }
    const config = resolveConfig("rate-limiter", LIMITER, raw) as { routes: string[] }
    expect(() => config.routes.push("/admin")).toThrow(TypeError)
    expect(Object.isFrozen(config)).toBe(true)
    raw.routes.push("/v1/*")
    expect(config.routes).toEqual(["/api/*"])
  })

  test("may be left out where nothing is demanded", () => {
    expect(resolveConfig("x", undefined)).toEqual({})
  })
})

describe("a configuration that is not valid", () => {
  test.each([
    [{ max_requests: "x" }, 'max_requests must be an integer ≥ 1, got "x"'],
    [{ max_requests: 0 }, "max_requests must be an integer ≥ 1, got 0"],
    [{ window: "soon" }, 'window must be a duration such as "30s", got "soon"'],
    [{ identifier: "user" }, 'identifier must be "ip" or "api_key", got "user"'],
    [{ routes: "/v1/*" }, 'routes must be a list, got "/v1/*"'],
    [{ routes: ["/v1/*", 3] }, "routes[1] must be text, got 3"],
    [{ max_request: 5 }, 'max_request is unknown; did you mean "max_requests"?'],
    [{ colour: 1 }, "colour is unknown; the settings are max_requests, window, identifier, routes"],
  ])("%p is told so, with its place in the file", (raw, fault) => {
    expect(faultOf(LIMITER, raw)).toBe(`plugins.configs.rate-limiter.config.${fault}`)
  })

  test("is told every fault at once", () => {
    const fault = faultOf(LIMITER, { max_requests: "x", window: 3, routs: [] })
    for (const name of ["max_requests", "window", "routs"]) expect(fault).toContain(`config.${name} `)
  })

  test("without a value that is required names it", () => {
    expect(faultOf(Type.Object({ url: Type.String({ minLength: 1 }) }), {})).toBe(
      "plugins.configs.rate-limiter.config.url must be text of length ≥ 1, but is missing",
    )
  })

  test("with settings for a plugin that has none is refused", () => {
    expect(faultOf(undefined, { a: 1 })).toContain("config.a is unknown; this plugin has no settings")
  })

  test("deep inside is told by its path", () => {
    const schema = Type.Object({
      servers: Type.Array(Type.Object({ host: Type.String() }), { default: [] }),
    })
    expect(faultOf(schema, { servers: [{ host: "a", prot: 1 }] })).toContain(
      ".config.servers[0].prot is unknown",
    )
    expect(faultOf(schema, { servers: [{}] })).toContain(
      ".config.servers[0].host must be text, but is missing",
    )
  })

  test("with extra settings is accepted where the schema allows them", () => {
    expect(faultOf(Type.Object({}, { additionalProperties: true }), { anything: 1 })).toBe("no fault")
  })

  test("with extra settings is refused once where the schema forbids them itself", () => {
    expect(faultOf(Type.Object({}, { additionalProperties: false }), { a: 1 })).toBe(
      "plugins.configs.rate-limiter.config.a is unknown; this plugin has no settings",
    )
  })

  test.each(["api_key", "token", "client_secret", "password"])("never shows the value of %s", (key) => {
    const fault = faultOf(Type.Object({ [key]: Type.Integer() }), { [key]: "hunter2" })
    expect(fault).toContain(`${key} must be an integer, got a value that is not shown`)
  })

  test("shows a count, whatever its name", () => {
    const config = Type.Object({ max_tokens: Type.Integer({ minimum: 1 }) })
    expect(faultOf(config, { max_tokens: 0 })).toContain("max_tokens must be an integer ≥ 1, got 0")
  })

  test("never shows the password in a URL", () => {
    const schema = Type.Object({ url: Type.String({ pattern: "^x" }) })
    expect(faultOf(schema, { url: "redis://user:hunter2@host" })).toContain('"redis://***@host"')
  })

  test("for a decoder of the plugin's own is told what the decoder said", () => {
    const schema = Type.Object({
      pattern: Type.Transform(Type.String())
        .Decode((text) => new RegExp(text))
        .Encode((pattern) => pattern.source),
    })
    expect(faultOf(schema, { pattern: "(" })).toStartWith(
      "plugins.configs.rate-limiter.config.pattern is refused: ",
    )
    expect(resolveConfig("x", schema, { pattern: "a+" })).toEqual({ pattern: /a+/ })
  })
})
