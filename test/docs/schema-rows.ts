/** A config schema as the rows of its documentation: each key with its type and default in words. */
import { Kind, type TSchema } from "@sinclair/typebox"

export interface SchemaRow {
  /** `providers[].timeout.total`, `plugins.configs.<name>.enabled` */
  readonly key: string
  readonly type: string
  /** As it is written in YAML; `required`, or `none` for an optional key without one. */
  readonly fallback: string
}

/** The rows of an object's keys. An object that always has the same keys is no row of its own. */
export function schemaRows(schema: TSchema, prefix = ""): readonly SchemaRow[] {
  const required: readonly string[] = schema.required ?? []
  return Object.entries<TSchema>(schema.properties ?? {}).flatMap(([name, property]) => {
    const key = prefix + name
    if (property[Kind] === "Object") return schemaRows(property, `${key}.`)
    const row = { key, type: typeOf(property), fallback: fallbackOf(property, required.includes(name)) }
    return [row, ...insideOf(property, key)]
  })
}

/** The keys of the objects in a list or a mapping. */
function insideOf(schema: TSchema, key: string): readonly SchemaRow[] {
  if (schema[Kind] === "Array") return objectIn(schema.items, `${key}[].`)
  if (schema[Kind] === "Union") return objectIn(schema, `${key}.`)
  if (schema[Kind] === "Record") return objectIn(valueSchemaOf(schema), `${key}.<name>.`)
  if (schema[Kind] === "Union") return objectIn(schema, `${key}.`)
  return []
}

function objectIn(schema: TSchema, prefix: string): readonly SchemaRow[] {
  const choices: readonly TSchema[] = schema[Kind] === "Union" ? schema.anyOf : [schema]
  return choices.filter((choice) => choice[Kind] === "Object").flatMap((choice) => schemaRows(choice, prefix))
}

function typeOf(schema: TSchema): string {
  switch (schema[Kind]) {
    case "Union":
      return listed(schema.anyOf.map((choice: TSchema) => typeOf(choice)))
    case "Literal":
      return `\`${schema.const}\``
    case "Array":
      return `list of ${plural(typeOf(schema.items))}`
    case "Record":
      return `mapping to ${plural(typeOf(valueSchemaOf(schema)))}`
    case "Integer":
    case "Number":
      return `${schema.type}${limitsOf(schema)}`
    case "String":
      return unitOf(schema) ?? "text"
    case "Unknown":
      return "anything"
    default:
      return String(schema.type)
  }
}

function limitsOf({ minimum, maximum }: TSchema): string {
  if (minimum !== undefined && maximum !== undefined) return `, ${minimum} to ${maximum}`
  return minimum === undefined ? "" : ` ≥ ${minimum}`
}

/** Durations and sizes are text with a pattern of their own. */
function unitOf({ errorMessage }: TSchema): string | undefined {
  return /^must be a (duration|size|percentage) /.exec(String(errorMessage))?.[1]
}

function plural(type: string): string {
  if (type === "text" || type === "anything" || type.includes(" ")) return type.replace(/^list /, "lists ")
  return type.startsWith("`") ? type : `${type}s`
}

function listed(items: readonly string[]): string {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} or ${items.at(-1)}`
}

function fallbackOf(schema: TSchema, isRequired: boolean): string {
  const { default: fallback } = schema
  if (fallback === undefined) return isRequired ? "required" : "none"
  return typeof fallback === "string" && fallback !== "" ? fallback : JSON.stringify(fallback)
}

function valueSchemaOf(schema: TSchema): TSchema {
  return Object.values<TSchema>(schema.patternProperties)[0] as TSchema
}
