/** What abilities may return; anything else is a failure of the plugin. */
import { hasChoices } from "../protocol/openai.ts"
import type { CacheStats } from "./contract.ts"
import type { ResultCheck } from "./point.ts"

export const ANYTHING: ResultCheck = { expected: "anything", accepts: () => true }

export const A_BOOLEAN: ResultCheck = {
  expected: "a boolean",
  accepts: (value) => typeof value === "boolean",
}

export const A_TEXT: ResultCheck = { expected: "text", accepts: (value) => typeof value === "string" }

/** Of a middleware. */
export const A_REPLY: ResultCheck = {
  expected: "a Response or nothing",
  accepts: (value) => value === undefined || value instanceof Response,
}

/** Of a plugin's own route. */
export const A_RESPONSE: ResultCheck = {
  expected: "a Response with a status and a body that nobody has read",
  accepts: (value) => value instanceof Response && value.status >= 200 && !value.bodyUsed,
}

export const A_PROVIDER: ResultCheck = {
  expected: "a provider's name or nothing",
  accepts: (value) => value === undefined || typeof value === "string",
}

export const AN_ENTRY: ResultCheck = {
  expected: "a Uint8Array or nothing",
  accepts: (value) => value === undefined || value instanceof Uint8Array,
}

const STATS_FIELDS = [
  "hits",
  "misses",
  "sets",
  "deletes",
  "sizeBytes",
  "entries",
  "evictions",
] as const satisfies readonly (keyof CacheStats)[]

export const CACHE_STATS: ResultCheck = {
  expected: `an object with the numbers ${STATS_FIELDS.join(", ")}`,
  accepts: (value) => isObject(value) && STATS_FIELDS.every((field) => typeof value[field] === "number"),
}

export const A_REQUEST: ResultCheck = {
  expected: "a request with model and messages, or nothing",
  accepts: (value) =>
    value === undefined ||
    (isObject(value) && typeof value.model === "string" && Array.isArray(value.messages)),
}

export const AN_EMBEDDING_REQUEST: ResultCheck = {
  expected: "a request with model and input, or nothing",
  accepts: (value) =>
    value === undefined || (isObject(value) && typeof value.model === "string" && value.input !== undefined),
}

export const A_COMPLETION: ResultCheck = {
  expected: "a completion whose choices have messages, or nothing",
  accepts: (value) => value === undefined || hasChoicesWith(value, "message"),
}

export const A_CHUNK: ResultCheck = {
  expected: "a chunk whose choices have deltas, null or nothing",
  accepts: (value) => value === undefined || value === null || hasChoicesWith(value, "delta"),
}

function hasChoicesWith(value: unknown, field: "message" | "delta"): boolean {
  return hasChoices(value) && value.choices.every((choice) => isObject(choice) && isObject(choice[field]))
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null
}
