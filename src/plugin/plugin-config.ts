/** Turns `plugins.configs.<name>.config` into what `setup` receives: checked, with defaults, decoded, frozen. */
import { type TObject, type TSchema, Type } from "@sinclair/typebox"
import { TransformDecodeError, Value, type ValueError, ValueErrorType } from "@sinclair/typebox/value"
import { GatewayError, messageOf } from "../errors.ts"
import { closest } from "../protocol/similar.ts"
import type { PluginDefinition } from "./contract.ts"

/** @throws GatewayError `plugin_config_invalid`, with every fault and its path in the configuration file */
export function resolveConfig(plugin: string, schema: TObject = NO_CONFIG, raw: unknown = {}): unknown {
  const value = Value.Default(schema, structuredClone(raw))
  const faults = [...unknownKeys(schema, value, ""), ...valueFaults(schema, value)]
  if (faults.length > 0) throw invalid(plugin, faults)
  try {
    return freezePlain(Value.Decode(schema, value))
  } catch (thrown) {
    // The schema is met, so a decoder of the plugin's own threw.
    if (!(thrown instanceof TransformDecodeError)) throw thrown
    throw invalid(plugin, [{ path: dotted(thrown.path), text: `is refused: ${messageOf(thrown.error)}` }])
  }
}

/**
 * An auth plugin that fails must not let anybody in.
 * @throws GatewayError `plugin_config_invalid`
 */
export function checkFailurePolicy(
  { name, type }: Pick<PluginDefinition, "name" | "type">,
  onError: string | undefined,
): void {
  if (type !== "auth" || onError === undefined || onError === "closed") return
  throw new GatewayError(
    "plugin_config_invalid",
    `plugins.configs.${name}.on_error is "${onError}", but "${name}" is an auth plugin, whose failures always mean "denied"; remove it, or set it to "closed"`,
  )
}

interface Fault {
  /** Below the plugin's `config`: `.routes[0]`. */
  readonly path: string
  /** The rest of a sentence that starts with the path. */
  readonly text: string
}

const NO_CONFIG = Type.Object({})
const MAX_FAULTS = 20

function invalid(plugin: string, faults: readonly Fault[]): GatewayError {
  const sentences = faults
    .slice(0, MAX_FAULTS)
    .map(({ path, text }) => `plugins.configs.${plugin}.config${path} ${text}`)
  return new GatewayError("plugin_config_invalid", sentences.join("; "), { details: { faults: sentences } })
}

/** Settings that the schema does not know. An object that allows further properties says so itself. */
function unknownKeys(schema: TSchema, value: unknown, path: string): Fault[] {
  if (Array.isArray(value) && isSchema(schema.items)) {
    const { items } = schema
    return value.flatMap((item, index) => unknownKeys(items, item, `${path}[${index}]`))
  }
  const { properties, additionalProperties = false } = schema
  if (!isSchema(properties) || !isSchema(value)) return []
  const known = Object.keys(properties)
  return Object.entries(value).flatMap(([key, item]) => {
    const property: unknown = Object.hasOwn(properties, key) ? properties[key] : undefined
    if (isSchema(property)) return unknownKeys(property as TSchema, item, `${path}.${key}`)
    return additionalProperties === false ? [{ path: `${path}.${key}`, text: unknownText(key, known) }] : []
  })
}

function unknownText(key: string, known: readonly string[]): string {
  if (known.length === 0) return "is unknown; this plugin has no settings"
  const [suggestion] = closest(key, known)
  return suggestion === undefined
    ? `is unknown; the settings are ${known.join(", ")}`
    : `is unknown; did you mean "${suggestion}"?`
}

/** One fault for each path: the first one says it all. */
function valueFaults(schema: TObject, value: unknown): readonly Fault[] {
  const faults = new Map<string, Fault>()
  for (const error of Value.Errors(schema, value)) {
    if (error.type === ValueErrorType.ObjectAdditionalProperties || faults.has(error.path)) continue
    const path = dotted(error.path)
    faults.set(error.path, { path, text: `${demandOf(error)}, ${gotOf(error, path)}` })
    if (faults.size === MAX_FAULTS) break
  }
  return [...faults.values()]
}

function demandOf({ schema, message }: ValueError): string {
  if (typeof schema.errorMessage === "string") return schema.errorMessage
  const options: unknown = schema.anyOf ?? (schema.const === undefined ? undefined : [schema])
  if (Array.isArray(options) && options.every((option) => isSchema(option) && option.const !== undefined)) {
    return `must be ${options.map(({ const: value }) => JSON.stringify(value)).join(" or ")}`
  }
  const demand = DEMANDS[String(schema.type)]
  return demand === undefined ? `is not valid (${message})` : `must be ${demand}${limitsOf(schema)}`
}

const DEMANDS: Readonly<Record<string, string>> = {
  integer: "an integer",
  number: "a number",
  string: "text",
  boolean: "true or false",
  array: "a list",
  object: "a group of settings",
}

function limitsOf(schema: TSchema): string {
  const limits = [
    ["≥", schema.minimum],
    ["≤", schema.maximum],
    [">", schema.exclusiveMinimum],
    ["<", schema.exclusiveMaximum],
    ["a multiple of", schema.multipleOf],
    ["of length ≥", schema.minLength ?? schema.minItems],
    ["of length ≤", schema.maxLength ?? schema.maxItems],
    ["that matches", schema.pattern],
    ["in the format", schema.format],
  ]
    .filter(([, limit]) => limit !== undefined)
    .map(([relation, limit]) => `${relation} ${limit}`)
  return limits.length === 0 ? "" : ` ${limits.join(" and ")}`
}

const SECRET = /key|secret|token|passw|credential|auth/i
const MAX_SHOWN = 60

function gotOf({ value }: ValueError, path: string): string {
  if (value === undefined) return "but is missing"
  // `max_tokens` is a count; a password may look like a number too.
  const isCount = typeof value === "number" && path.endsWith("tokens")
  if (SECRET.test(path) && !isCount) return "got a value that is not shown"
  const text = JSON.stringify(value) ?? typeof value
  return `got ${text.replace(/\/\/[^/@\s]+@/g, "//***@").slice(0, MAX_SHOWN)}`
}

/** `/routes/0` → `.routes[0]` */
function dotted(pointer: string): string {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part}`))
    .join("")
}

function freezePlain(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value
  const prototype = Object.getPrototypeOf(value)
  // Decoders may return a Map, a RegExp, a URL …: those stay as they are.
  if (!Array.isArray(value) && prototype !== Object.prototype && prototype !== null) return value
  for (const item of Object.values(value)) freezePlain(item)
  return Object.freeze(value)
}

function isSchema(value: unknown): value is TSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
