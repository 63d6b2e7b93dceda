import { describe, expect, test } from "bun:test"
import { Type } from "@sinclair/typebox"
import type { PluginDefinition, PluginType } from "../../src/plugin/contract.ts"
import { checkAbilities, checkDefinition } from "../../src/plugin/validate.ts"

const valid = { name: "echo", version: "1.0.0", type: "monitoring", setup: () => ({}) }

function faultOf(check: () => unknown): string {
  try {
    check()
    return "no fault"
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown)
  }
}

const definitionFault = (definition: unknown) => faultOf(() => checkDefinition(definition, "echo.ts"))

describe("a definition", () => {
  test("that is valid is given back as it is", () => {
    const definition = {
      ...valid,
      description: "Says it again",
      config: Type.Object({ times: Type.Integer() }),
      dependencies: { "geo-ip": "^1.2.0" },
      loadAfter: ["other"],
      metadata: { tags: ["a"] },
    }
    expect(checkDefinition(definition, "echo.ts")).toBe(definition as unknown as PluginDefinition)
  })

  test("that is missing is told how to be written", () => {
    expect(definitionFault(undefined)).toBe(
      'echo.ts has no default export; end it with "export default definePlugin({ … })", or start its name with "_" if it only helps other plugins',
    )
  })

  test.each([
    [null, "null"],
    [() => 1, "a function"],
    [[valid], "a list"],
    ["text", "a string"],
    [Promise.resolve(valid), "a promise"],
  ])("that is %p is told what it is", (exported, kind) => {
    expect(definitionFault(exported)).toBe(
      `echo.ts exports ${kind}; export definePlugin({ … }) as its default`,
    )
  })

  test.each(["", "Rate Limiter", "rate_limiter", "-a", "a-", "a--b", "é", "a".repeat(65), "hooks", 3])(
    "may not be called %p",
    (name) => {
      expect(definitionFault({ ...valid, name })).toContain("invalid plugin name: must be lower-case")
    },
  )

  test.each(["a", "rate-limiter", "a1-2b", "a".repeat(64)])("may be called %p", (name) => {
    expect(definitionFault({ ...valid, name })).toBe("no fault")
  })

  test.each(["", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", 1])("may not have version %p", (version) => {
    expect(definitionFault({ ...valid, version })).toContain(
      "invalid plugin version: must be a semantic version",
    )
  })

  test("may not have a type that does not exist", () => {
    expect(definitionFault({ ...valid, type: "filter" })).toBe(
      'the plugin in echo.ts is not valid: invalid plugin type: must be one of provider, middleware, router, cache, auth, monitoring, transform, got "filter"',
    )
  })

  test("tells every fault at once", () => {
    const fault = definitionFault({ name: "Echo", version: "one", type: "x" })
    for (const key of ["name", "version", "type", "setup"]) expect(fault).toContain(`invalid plugin ${key}:`)
  })

  test("with a misspelt property is told the right one", () => {
    expect(definitionFault({ ...valid, dependancies: {} })).toContain(
      'unknown property "dependancies": did you mean "dependencies"?',
    )
  })

  test.each([
    ["config", Type.String()],
    ["config", {}],
    ["dependencies", { "geo-ip": "latest" }],
    ["dependencies", { "Geo IP": "^1" }],
    ["dependencies", ["geo-ip"]],
    ["loadAfter", "other"],
    ["metadata", { size: 1n }],
    ["description", 3],
    ["setup", {}],
  ])("may not have %s %p", (key, value) => {
    expect(definitionFault({ ...valid, [key]: value })).toContain(`invalid plugin ${key}: must`)
  })
})

const minimal: { readonly [T in PluginType]: object } = {
  provider: { models: ["m", { id: "n" }], chat() {} },
  middleware: { beforeHandle() {} },
  router: { routeRequest() {}, selectProvider() {} },
  cache: { get() {}, set() {}, delete() {}, clear() {}, stats() {}, distributed: false },
  auth: { authenticate() {} },
  monitoring: {},
  transform: { supportsFormat() {} },
}

const abilitiesFault = (type: PluginType, returned: unknown) =>
  faultOf(() => checkAbilities({ ...valid, type } as PluginDefinition, returned))

describe("the abilities", () => {
  test.each(Object.entries(minimal))("of a %s need no more than its contract demands", (type, abilities) => {
    expect(abilitiesFault(type as PluginType, abilities)).toBe("no fault")
  })

  test.each([
    ["provider", "chat"],
    ["provider", "models"],
    ["router", "routeRequest"],
    ["router", "selectProvider"],
    ["cache", "stats"],
    ["auth", "authenticate"],
    ["transform", "supportsFormat"],
  ] as const)("of a %s may not lack %s", (type, key) => {
    expect(abilitiesFault(type, { ...minimal[type], [key]: undefined })).toContain(
      `${key}: is missing, must be`,
    )
  })

  test("may not be nothing", () => {
    expect(abilitiesFault("auth", undefined)).toBe(
      'setup of plugin "echo" returned nothing: return an object with the abilities of type "auth": priority, authenticate, authorize, permissions',
    )
  })

  test("of a middleware may not be empty", () => {
    expect(abilitiesFault("middleware", { priority: 3 })).toContain("a middleware needs one of")
    expect(abilitiesFault("middleware", { hooks: { onRequest() {} } })).toBe("no fault")
    expect(abilitiesFault("middleware", { fetch: () => new Response() })).toBe("no fault")
  })

  test("that are misspelt are told the right one", () => {
    expect(abilitiesFault("middleware", { beforeHandel() {} })).toContain(
      'unknown ability of type "middleware" "beforeHandel": did you mean "beforeHandle"?',
    )
  })

  test("of another type are not accepted", () => {
    expect(abilitiesFault("auth", { ...minimal.auth, chat() {} })).toContain(
      'unknown ability of type "auth" "chat"',
    )
  })

  test("a misspelt hook is an error with a suggestion, never a silent no-op", () => {
    expect(abilitiesFault("monitoring", { hooks: { onRespnse() {} } })).toContain(
      'unknown hook "onRespnse": did you mean "onResponse"?',
    )
  })

  test("a hook must be a function", () => {
    expect(abilitiesFault("monitoring", { hooks: { onError: true } })).toContain(
      "hooks.onError: must be a function, got true",
    )
    expect(abilitiesFault("monitoring", { hooks: { onError: undefined } })).toBe("no fault")
  })

  test.each([
    ["middleware", "priority", 101],
    ["middleware", "priority", 1.5],
    ["middleware", "routes", "/v1/*"],
    ["provider", "models", [""]],
    ["provider", "models", [{ name: "m" }]],
    ["cache", "distributed", "yes"],
    ["monitoring", "hooks", []],
    ["monitoring", "shutdown", true],
  ] as const)("of a %s may not have %s %p", (type, key, value) => {
    expect(abilitiesFault(type, { ...minimal[type], [key]: value })).toContain(`${key}: must be`)
  })

  test("may be an instance of a class, with state of its own", () => {
    class Recorder {
      count = 0
      recordMetric() {
        this.count++
      }
    }
    expect(abilitiesFault("monitoring", new Recorder())).toBe("no fault")
  })
})
