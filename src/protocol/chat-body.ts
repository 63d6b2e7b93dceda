import { isUtf8 } from "node:buffer"
import { GatewayError, messageOf } from "../errors.ts"
import { harden } from "./harden.ts"
import {
  expectKeys,
  type JsonField,
  type JsonKind,
  readString,
  scanJson,
  startsWithByteOrderMark,
} from "./json-scan.ts"
import type { ChatRequest, DeepReadonly } from "./openai.ts"

interface ChatFields {
  readonly model: string
  readonly modelField: JsonField
  readonly stream: boolean
}

/** A chat request as its bytes; the object is made when somebody asks for it. */
export class ChatBody {
  readonly model: string
  readonly stream: boolean
  readonly #modelField: JsonField
  #object: DeepReadonly<ChatRequest> | undefined

  /** Use `readChatBody`: it is what checks the bytes. */
  constructor(
    readonly bytes: Uint8Array<ArrayBuffer>,
    { model, modelField, stream }: ChatFields,
  ) {
    this.model = model
    this.stream = stream
    this.#modelField = modelField
  }

  /** For requests that a plugin has changed. @throws GatewayError `invalid_request` */
  static fromObject(request: DeepReadonly<ChatRequest>): ChatBody {
    return readChatBody(encodeRequest(request))
  }

  /** The parsed request: frozen throughout, and without `__proto__` keys, which a careless copy would obey. */
  object(): DeepReadonly<ChatRequest> {
    if (this.#object === undefined) {
      const request = JSON.parse(decoder.decode(this.bytes)) as ChatRequest
      harden(request)
      this.#object = request
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

/** @throws GatewayError `invalid_json`, or `invalid_request` with the field at fault */
export function readChatBody(received: Uint8Array<ArrayBuffer>): ChatBody {
  if (!isUtf8(received)) {
    throw new GatewayError("invalid_json", "the request body is not valid UTF-8, which JSON must be")
  }
  const bytes = startsWithByteOrderMark(received) ? received.subarray(3) : received
  const fields = readFields(bytes)
  const byKey = new Map<string, JsonField>()
  for (const field of fields) byKey.set(field.key, field)
  if (byKey.size < fields.length) return readChatBody(rewrite(bytes))

  for (const field of fields) checkField(field)
  const modelField = required(byKey, "model")
  if (isEmptyArray(bytes, required(byKey, "messages"))) {
    throw invalid("messages", "must have at least one message")
  }
  const stream = byKey.get("stream")
  return new ChatBody(bytes, {
    model: readModel(bytes, modelField),
    modelField,
    stream: stream !== undefined && bytes[stream.start] === LETTER_T,
  })
}

const decoder = new TextDecoder()
const encoder = new TextEncoder()

const LETTER_T = 0x74
const CLOSE_ARRAY = 0x5d
const MAX_MODEL_LENGTH = 256

/** What each field may be. `null` counts as absent, as it does for OpenAI. */
const FIELD_KINDS: Readonly<Record<string, readonly JsonKind[]>> = {
  model: ["string"],
  messages: ["array"],
  audio: ["object"],
  frequency_penalty: ["number"],
  function_call: ["string", "object"],
  functions: ["array"],
  logit_bias: ["object"],
  logprobs: ["boolean"],
  max_completion_tokens: ["number"],
  max_tokens: ["number"],
  metadata: ["object"],
  modalities: ["array"],
  n: ["number"],
  parallel_tool_calls: ["boolean"],
  presence_penalty: ["number"],
  reasoning_effort: ["string"],
  response_format: ["object"],
  seed: ["number"],
  service_tier: ["string"],
  stop: ["string", "array"],
  store: ["boolean"],
  stream: ["boolean"],
  stream_options: ["object"],
  temperature: ["number"],
  tool_choice: ["string", "object"],
  tools: ["array"],
  top_logprobs: ["number"],
  top_p: ["number"],
  user: ["string"],
}
const KINDS_BY_FIELD = new Map(Object.entries(FIELD_KINDS))
const EXPECTED_KEYS = expectKeys([...KINDS_BY_FIELD.keys()])
const REQUIRED = new Set(["model", "messages"])

/** Fields that decide where a request goes, as parsers see them that ignore case, such as Go's. */
const ROUTING_KEYS = new Map([...REQUIRED, "stream"].map((key) => [key.toUpperCase(), key]))

const ARTICLES = {
  string: "a string",
  number: "a number",
  boolean: "a boolean",
  null: "null",
  array: "an array",
  object: "an object",
} as const satisfies Record<JsonKind, string>

function readFields(bytes: Uint8Array): readonly JsonField[] {
  const scan = scanJson(bytes, EXPECTED_KEYS)
  if (scan.kind === "object") return scan.fields
  if (scan.kind === "other")
    throw new GatewayError("invalid_request", "the request body must be a JSON object")
  throw new GatewayError(
    "invalid_json",
    bytes.length === 0
      ? 'the request body is empty; send a JSON object with "model" and "messages"'
      : `the request body is not valid JSON: ${scan.message}`,
  )
}

/** A request whose keys repeat is written anew as JSON.parse sees it, lest the provider read another one out of it. */
function rewrite(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return encoder.encode(JSON.stringify(JSON.parse(decoder.decode(bytes))))
}

function encodeRequest(request: DeepReadonly<ChatRequest>): Uint8Array<ArrayBuffer> {
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

function checkField({ key, kind }: JsonField): void {
  const kinds = KINDS_BY_FIELD.get(key)
  if (kinds === undefined) {
    const meant = ROUTING_KEYS.get(key.toUpperCase())
    if (meant === undefined) return
    throw new GatewayError("invalid_request", `"${key}" must be written "${meant}"`, { param: meant })
  }
  if (kinds.includes(kind) || (kind === "null" && !REQUIRED.has(key))) return
  throw invalid(key, `must be ${kinds.map((wanted) => ARTICLES[wanted]).join(" or ")}, got ${ARTICLES[kind]}`)
}

function required(fields: ReadonlyMap<string, JsonField>, key: string): JsonField {
  const field = fields.get(key)
  if (field === undefined) throw invalid(key, "is missing")
  return field
}

function readModel(bytes: Uint8Array, field: JsonField): string {
  const model = readString(bytes, field)
  if (model === "") throw invalid("model", "must not be empty")
  if (model.length > MAX_MODEL_LENGTH) {
    throw invalid("model", `must have at most ${MAX_MODEL_LENGTH} characters, got ${model.length}`)
  }
  return model
}

function isEmptyArray(bytes: Uint8Array, { start }: JsonField): boolean {
  let at = start + 1
  while ((bytes[at] as number) <= 0x20) at++
  return bytes[at] === CLOSE_ARRAY
}

function invalid(field: string, what: string): GatewayError {
  return new GatewayError("invalid_request", `"${field}" ${what}`, { param: field })
}
