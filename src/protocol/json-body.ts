/** Request bodies as the bytes that came: checked, but not turned into objects before somebody asks. */
import { isUtf8 } from "node:buffer"
import { GatewayError, messageOf } from "../errors.ts"
import { harden } from "./harden.ts"
import {
  type ExpectedKeys,
  expectKeys,
  type JsonField,
  type JsonKind,
  readString,
  scanJson,
  startsWithByteOrderMark,
} from "./json-scan.ts"
import type { DeepReadonly } from "./openai.ts"

/** What an endpoint takes. `null` counts as absent, as it does for OpenAI. */
export interface BodyFormat {
  readonly kinds: ReadonlyMap<string, readonly JsonKind[]>
  readonly expectedKeys: ExpectedKeys
  readonly required: ReadonlySet<string>
  /** Fields that decide what is done, as parsers see them that ignore case, such as Go's. */
  readonly deciding: ReadonlyMap<string, string>
  /** The required fields, for an error: `"model" and "messages"`. */
  readonly needs: string
}

interface BodyFormatOptions {
  readonly kinds: Readonly<Record<string, readonly JsonKind[]>>
  readonly required: readonly string[]
  /** Beside the required ones. */
  readonly deciding?: readonly string[]
}

export function bodyFormat({ kinds, required, deciding = [] }: BodyFormatOptions): BodyFormat {
  return {
    kinds: new Map(Object.entries(kinds)),
    expectedKeys: expectKeys(Object.keys(kinds)),
    required: new Set(required),
    deciding: new Map([...required, ...deciding].map((key) => [key.toUpperCase(), key])),
    needs: required.map((key) => `"${key}"`).join(" and "),
  }
}

/** A request as its bytes; the object is made when somebody asks for it. */
export class JsonBody<T extends { model: string }> {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly model: string
  readonly #modelField: JsonField
  #object: DeepReadonly<T> | undefined

  constructor({ bytes, model, modelField }: BodyFields) {
    this.bytes = bytes
    this.model = model
    this.#modelField = modelField
  }

  /** The parsed request: frozen throughout, and without `__proto__` keys, which a careless copy would obey. */
  object(): DeepReadonly<T> {
    if (this.#object === undefined) {
      const request: unknown = JSON.parse(decoder.decode(this.bytes))
      harden(request)
      this.#object = request as DeepReadonly<T>
    }
    return this.#object
  }

  /** The bytes with another model's name in place; the very same bytes where it is the same model. */
  withModel(model: string): Uint8Array<ArrayBuffer> {
    if (model === this.model) return this.bytes
    const { start, end } = this.#modelField
    const name = encoder.encode(JSON.stringify(model))
    const spliced = new Uint8Array(this.bytes.length - (end - start) + name.length)
    spliced.set(this.bytes.subarray(0, start))
    spliced.set(name, start)
    spliced.set(this.bytes.subarray(end), start + name.length)
    return spliced
  }
}

/** A body whose fields have the right types. */
export interface BodyFields {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly byKey: ReadonlyMap<string, JsonField>
  readonly model: string
  readonly modelField: JsonField
}

/** @throws GatewayError `invalid_json`, or `invalid_request` with the field at fault */
export function readBodyFields(received: Uint8Array<ArrayBuffer>, format: BodyFormat): BodyFields {
  if (!isUtf8(received)) {
    throw new GatewayError("invalid_json", "the request body is not valid UTF-8, which JSON must be")
  }
  const bytes = startsWithByteOrderMark(received) ? received.subarray(3) : received
  const fields = scanFields(bytes, format)
  const byKey = new Map<string, JsonField>()
  for (const field of fields) byKey.set(field.key, field)
  if (byKey.size < fields.length) return readBodyFields(rewrite(bytes), format)

  for (const field of fields) checkField(field, format)
  const modelField = requiredField(byKey, "model")
  return { bytes, byKey, model: readModel(bytes, modelField), modelField }
}

export function requiredField(fields: ReadonlyMap<string, JsonField>, key: string): JsonField {
  const field = fields.get(key)
  if (field === undefined) throw invalidField(key, "is missing")
  return field
}

/** A field that is there and not null. */
export function givenField(fields: ReadonlyMap<string, JsonField>, key: string): JsonField | undefined {
  const field = fields.get(key)
  return field?.kind === "null" ? undefined : field
}

export function invalidField(field: string, what: string): GatewayError {
  return new GatewayError("invalid_request", `"${field}" ${what}`, { param: field })
}

/** A request that a plugin has changed, as bytes. @throws GatewayError `invalid_request` */
export function encodeRequest(request: object): Uint8Array<ArrayBuffer> {
  try {
    return encoder.encode(JSON.stringify(request))
  } catch (cause) {
    throw new GatewayError(
      "invalid_request",
      `the changed request cannot be written as JSON: ${messageOf(cause)}`,
      { cause },
    )
  }
}

const decoder = new TextDecoder()
const encoder = new TextEncoder()

const MAX_MODEL_LENGTH = 256

const ARTICLES = {
  string: "a string",
  number: "a number",
  boolean: "a boolean",
  null: "null",
  array: "an array",
  object: "an object",
} as const satisfies Record<JsonKind, string>

function scanFields(bytes: Uint8Array, { expectedKeys, needs }: BodyFormat): readonly JsonField[] {
  const scan = scanJson(bytes, expectedKeys)
  if (scan.kind === "object") return scan.fields
  if (scan.kind === "other")
    throw new GatewayError("invalid_request", "the request body must be a JSON object")
  throw new GatewayError(
    "invalid_json",
    bytes.length === 0
      ? `the request body is empty; send a JSON object with ${needs}`
      : `the request body is not valid JSON: ${scan.message}`,
  )
}

/** A request whose keys repeat is written anew as JSON.parse sees it, lest the provider read another one out of it. */
function rewrite(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return encoder.encode(JSON.stringify(JSON.parse(decoder.decode(bytes))))
}

function checkField({ key, kind }: JsonField, { kinds: kindsByField, required, deciding }: BodyFormat): void {
  const kinds = kindsByField.get(key)
  if (kinds === undefined) {
    const meant = deciding.get(key.toUpperCase())
    if (meant === undefined) return
    throw new GatewayError("invalid_request", `"${key}" must be written "${meant}"`, { param: meant })
  }
  if (kinds.includes(kind) || (kind === "null" && !required.has(key))) return
  throw invalidField(
    key,
    `must be ${kinds.map((wanted) => ARTICLES[wanted]).join(" or ")}, got ${ARTICLES[kind]}`,
  )
}

function readModel(bytes: Uint8Array, field: JsonField): string {
  const model = readString(bytes, field)
  if (model === "") throw invalidField("model", "must not be empty")
  if (model.length > MAX_MODEL_LENGTH) {
    throw invalidField("model", `must have at most ${MAX_MODEL_LENGTH} characters, got ${model.length}`)
  }
  return model
}
