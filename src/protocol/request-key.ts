/** The key under which the reply to a request is cached. */
import { isObject } from "./json-object.ts"
import type { ChatRequest, DeepReadonly, EmbeddingRequest } from "./openai.ts"

export interface KeyedRequest {
  /** The wire format of request and reply: `openai-chat` or `openai-embeddings`. */
  readonly protocol: string
  /** As it will be routed; the one in the request is not looked at. */
  readonly model: string
  /** The provider that is to be tried first, where one was named. */
  readonly provider: string | undefined
  readonly stream: boolean
  readonly request: DeepReadonly<ChatRequest> | DeepReadonly<EmbeddingRequest>
}

/** SHA-256, in hexadecimal, of what decides about the answer: equal requests have equal keys, however they are written. */
export function requestKey({ protocol, model, provider, stream, request }: KeyedRequest): string {
  const fields = Object.entries(request).filter(([field]) => !LEFT_OUT.has(field))
  const parts = [protocol, model, provider ?? null, stream].map((part) => JSON.stringify(part))
  return Bun.SHA256.hash(`[${parts.join()},${canonical(withoutNulls(Object.fromEntries(fields)))}]`, "hex")
}

/** Fields that stand in the key already, or only say who asks and how the call is filed. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  "model",
  "stream",
  "user",
  "metadata",
  "store",
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_retention",
])

/**
 * In a request and in its messages null counts as absent. Deeper down it may be a value, such as `{ "const": null }`
 * in the schema of a tool.
 */
function withoutNulls(request: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const fields = presentFields(request)
  if (Array.isArray(fields.messages)) {
    fields.messages = fields.messages.map((message) => (isObject(message) ? presentFields(message) : message))
  }
  return fields
}

function presentFields(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null))
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (!isObject(value)) return JSON.stringify(value)
  const fields = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`)
  return `{${fields.join()}}`
}
