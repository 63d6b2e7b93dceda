/** The schema's complaints about a value, as sentences. */
import { Kind, type TSchema } from "@sinclair/typebox"
import { Errors, type ValueError, ValueErrorType } from "@sinclair/typebox/errors"
import { Check, ValuePointer } from "@sinclair/typebox/value"
import { closest } from "../protocol/similar.ts"
import type { Problem } from "./faults.ts"
import { segmentsOf } from "./pointer.ts"
import { isSecretPath, withoutUserinfo } from "./secrets.ts"
import type { VariableUse } from "./variables.ts"

type Uses = ReadonlyMap<string, VariableUse>

/**
 * A variable's value is text. Where the schema wants a number or a boolean and the text is exactly one, it
 * becomes one. Writes into `value`.
 */
export function fitVariables(schema: TSchema, value: unknown, uses: Uses): void {
  for (const error of errorsOf(schema, value)) {
    if (!uses.get(error.path)?.isWhole || typeof error.value !== "string") continue
    const fitted = fittedTo(error.schema, error.value)
    if (fitted !== undefined) ValuePointer.Set(value, error.path, fitted)
  }
}

function fittedTo(schema: TSchema, text: string): number | boolean | undefined {
  const kind = schema[Kind]
  if (kind === "Boolean") return text === "true" ? true : text === "false" ? false : undefined
  const isNumber = kind === "Integer" || kind === "Number"
  return isNumber && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined
}

export function schemaProblems(schema: TSchema, value: unknown, uses: Uses): readonly Problem[] {
  return errorsOf(schema, value).map((error) => problemOf(error, uses))
}

function errorsOf(schema: TSchema, value: unknown): readonly ValueError[] {
  return Check(schema, value) ? [] : [...Errors(schema, value)].flatMap(insideUnion)
}

/** A mapping that fits no variant of a union was meant as the variant that is a mapping. */
function insideUnion(error: ValueError): readonly ValueError[] {
  if (error.type !== ValueErrorType.Union || kindOf(error.value) !== "mapping") return [error]
  const variants: readonly TSchema[] = error.schema.anyOf
  const index = variants.findIndex((variant) => variant[Kind] === "Object")
  const inner = error.errors[index]
  return inner === undefined ? [error] : [...inner].flatMap(insideUnion)
}

function problemOf(error: ValueError, uses: Uses): Problem {
  const pointer = error.path
  if (error.type === ValueErrorType.ObjectAdditionalProperties) {
    return { pointer, part: "key", message: unknownKey(error) }
  }
  if (error.type === ValueErrorType.ObjectRequiredProperty) return { pointer, message: "is required" }
  const subject = pointer === "" ? "the file " : ""
  return { pointer, message: `${subject}${expectation(error.schema)}${received(error, uses)}` }
}

function unknownKey(error: ValueError): string {
  const name = segmentsOf(error.path).at(-1) ?? ""
  const known = Object.keys(error.schema.properties ?? {})
  const [meant] = closest(name, known)
  return meant === undefined
    ? `is not a known key; known here: ${known.join(", ")}`
    : `is not a known key; did you mean "${meant}"?`
}

/** `must be …`, whatever part of the schema was not met. */
function expectation(schema: TSchema): string {
  if (typeof schema.errorMessage === "string") return schema.errorMessage
  const choices: readonly TSchema[] = schema.anyOf ?? []
  if (choices.length > 0 && choices.every((choice) => "const" in choice)) {
    return `must be one of: ${choices.map((choice) => choice.const).join(", ")}`
  }
  return `must be ${choices.length > 0 ? choices.map(noun).join(" or ") : noun(schema)}`
}

function noun(schema: TSchema): string {
  switch (schema[Kind]) {
    case "String":
      return schema.minLength === undefined ? "text" : "text that is not empty"
    case "Integer":
      return `an integer${range(schema)}`
    case "Number":
      return `a number${range(schema)}`
    case "Boolean":
      return "true or false"
    case "Array":
      return schema.minItems === undefined ? "a list" : "a list that is not empty"
    case "Object":
    case "Record":
      return "a mapping"
    default:
      return String(schema.const ?? schema.type)
  }
}

function range({ minimum, maximum }: TSchema): string {
  if (minimum === undefined && maximum === undefined) return ""
  if (maximum === undefined) return ` of at least ${minimum}`
  return minimum === undefined ? ` of at most ${maximum}` : ` from ${minimum} to ${maximum}`
}

const LONGEST_SHOWN = 60

/** What stood there instead, unless it is, or may hold, a secret. */
function received(error: ValueError, uses: Uses): string {
  const use = uses.get(error.path)
  if (use !== undefined && use.names.length > 0) return ` (its value comes from ${use.names.join(", ")})`
  const kind = kindOf(error.value)
  if (Array.isArray(error.value) && error.value.length === 0) return ", got an empty list"
  if (kind === "mapping" || kind === "list") return `, got a ${kind}`
  if (typeof error.value === "boolean") return `, got ${error.value}`
  const wantsScalar = !["Object", "Record", "Array"].includes(error.schema[Kind])
  if (!wantsScalar || isSecretPath(segmentsOf(error.path))) return `, got ${kind}`
  const shown = withoutUserinfo(JSON.stringify(error.value) ?? kind)
  return `, got ${shown.length > LONGEST_SHOWN ? `${shown.slice(0, LONGEST_SHOWN)}…` : shown}`
}

function kindOf(value: unknown): "mapping" | "list" | "text" | "a number" | "nothing" {
  if (value === null || value === undefined) return "nothing"
  if (Array.isArray(value)) return "list"
  if (typeof value === "object") return "mapping"
  if (typeof value === "string") return "text"
  return "a number"
}
