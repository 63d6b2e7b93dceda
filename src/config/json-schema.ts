/** The schema of `config.yaml` as an editor wants it. */
import { Kind, type TObject, type TSchema, Type } from "@sinclair/typebox"
import { ConfigSchema, PluginEntrySchema } from "./schema.ts"

const DIALECT = "https://json-schema.org/draft/2020-12/schema"

/** With the schemas of loaded plugins, by plugin name, under `plugins.configs.<name>.config`. */
export function configJsonSchema(
  pluginSchemas: Readonly<Record<string, TSchema>> = {},
): Readonly<Record<string, unknown>> {
  const entries = Object.entries(pluginSchemas).map(([name, schema]) => [name, entryWith(schema)] as const)
  const plugins = withProperty(ConfigSchema.properties.plugins, "configs", {
    ...Type.Object(Object.fromEntries(entries), { additionalProperties: PluginEntrySchema }),
    default: {},
  })
  return { $schema: DIALECT, ...asWritten(withProperty(ConfigSchema, "plugins", plugins)) }
}

const entryWith = (config: TSchema): TSchema =>
  withProperty(PluginEntrySchema, "config", { ...config, default: config.default ?? {} })

function withProperty(schema: TObject, name: string, property: TSchema): TSchema {
  return { ...schema, properties: { ...schema.properties, [name]: property } }
}

/** What a person may write: nothing that has a default is required, and a variable may stand for any value. */
function asWritten(schema: TSchema): Record<string, unknown> {
  const { anyOf, items, properties, patternProperties, additionalProperties, required, ...rest } = schema
  if (isPlain(schema)) return orVariable(schema)
  return {
    ...rest,
    ...(anyOf && { anyOf: anyOf.map(asWritten) }),
    ...(items && { items: asWritten(items) }),
    ...(properties && { properties: eachAsWritten(properties) }),
    ...(patternProperties && { patternProperties: eachAsWritten(patternProperties) }),
    ...(additionalProperties !== undefined && {
      additionalProperties:
        typeof additionalProperties === "boolean" ? additionalProperties : asWritten(additionalProperties),
    }),
    ...(required && { required: required.filter((name: string) => !("default" in properties[name])) }),
  }
}

const eachAsWritten = (schemas: Readonly<Record<string, TSchema>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, asWritten(schema)]))

const VARIABLE = { type: "string", pattern: "\\$\\{.+\\}" } as const

/** One value, no mapping or list: those that are one of several literals too. */
function isPlain(schema: TSchema): boolean {
  const kind = schema[Kind]
  if (kind === "Union") return schema.anyOf.every((choice: TSchema) => "const" in choice)
  return (
    kind === "Integer" ||
    kind === "Number" ||
    kind === "Boolean" ||
    (kind === "String" && "pattern" in schema)
  )
}

function orVariable({ description, default: fallback, ...schema }: TSchema): Record<string, unknown> {
  const choices = schema[Kind] === "Union" ? schema.anyOf : [schema]
  return {
    ...(description !== undefined && { description }),
    ...(fallback !== undefined && { default: fallback }),
    anyOf: [...choices, VARIABLE],
  }
}
