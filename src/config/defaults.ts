import { Kind, type TSchema } from "@sinclair/typebox"
import { valueAt } from "./pointer.ts"

/**
 * A copy of the value with the schema's defaults where nothing was written, in the schema's order. TypeBox's own
 * `Default` turns a list into a mapping where a mapping has a default, which hides the fault.
 */
export function withDefaults(schema: TSchema | undefined, value: unknown): unknown {
  const given = value === undefined ? structuredClone(schema?.default) : value
  if (Array.isArray(given)) return given.map((item) => withDefaults(schema?.items, item))
  if (typeof given !== "object" || given === null) return given
  const shape = objectSchema(schema)
  const names = new Set([...Object.keys(shape?.properties ?? {}), ...Object.keys(given)])
  return Object.fromEntries(
    [...names]
      .map((name) => [name, withDefaults(propertySchema(shape, name), valueAt(given, name))])
      .filter(([, item]) => item !== undefined),
  )
}

/** Of a choice between an object and something else, the object. */
function objectSchema(schema: TSchema | undefined): TSchema | undefined {
  if (schema?.[Kind] !== "Union") return schema
  const choices: readonly TSchema[] = schema.anyOf
  return choices.find((choice) => choice[Kind] === "Object")
}

function propertySchema(schema: TSchema | undefined, name: string): TSchema | undefined {
  // TypeBox writes a record as one pattern that every key meets.
  if (schema?.[Kind] === "Record") return Object.values<TSchema>(schema.patternProperties)[0]
  const properties: Readonly<Record<string, TSchema>> = schema?.properties ?? {}
  return Object.hasOwn(properties, name) ? properties[name] : undefined
}
