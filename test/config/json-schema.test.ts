import { describe, expect, test } from "bun:test"
import { Type } from "@sinclair/typebox"
import { configJsonSchema } from "../../src/config/json-schema.ts"
import { valueAt } from "../../src/config/pointer.ts"

const plain = (schema: unknown): unknown => JSON.parse(JSON.stringify(schema))

describe("the JSON Schema of the config", () => {
  const schema = plain(configJsonSchema())

  test("names its dialect and title", () => {
    expect(schema).toMatchObject({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      title: "LeapGate configuration",
      type: "object",
      additionalProperties: false,
    })
  })

  test("requires nothing that has a default", () => {
    expect(valueAt(schema, "required")).toEqual([])
    const provider = valueAt(schema, "properties", "providers", "items")
    expect(valueAt(provider, "required")).toEqual(["name", "base_url"])
  })

  test("lets a variable stand for a number, a choice and a duration", () => {
    const variable = { type: "string", pattern: "\\$\\{.+\\}" }
    const { port, drain_timeout } = valueAt(schema, "properties", "server", "properties") as Record<
      string,
      unknown
    >
    expect(port).toEqual({
      description: "0 picks a free port",
      default: 8080,
      anyOf: [{ type: "integer", minimum: 0, maximum: 65535 }, variable],
    })
    expect(valueAt(drain_timeout, "anyOf", 1)).toEqual(variable)
    expect(valueAt(schema, "properties", "auth", "properties", "mode", "anyOf")).toEqual([
      { const: "keys", type: "string" },
      { const: "open", type: "string" },
      variable,
    ])
  })

  test("holds the plugins' own parts under their names", () => {
    const geo = Type.Object({ zone: Type.String(), limit: Type.Integer({ default: 3 }) })
    const configs = valueAt(
      plain(configJsonSchema({ geo })),
      "properties",
      "plugins",
      "properties",
      "configs",
    )
    const config = valueAt(configs, "properties", "geo", "properties", "config")
    expect(config).toMatchObject({ type: "object", required: ["zone"] })
    expect(valueAt(configs, "additionalProperties", "properties", "enabled")).toBeDefined()
  })
})
