import type { Usage } from "./openai.ts"

const KEY = Buffer.from('"usage"')

/**
 * The usage that a whole reply states, found from its end without reading the rest.
 *
 * A quote inside a JSON string is always escaped, so the bytes `"usage"` are never a part of the answer's text.
 */
export function peekUsage(reply: Uint8Array): Usage | undefined {
  const bytes = Buffer.from(reply.buffer, reply.byteOffset, reply.byteLength)
  const key = bytes.lastIndexOf(KEY)
  if (key < 0) return undefined
  const start = bytes.indexOf(OPEN_OBJECT, key + KEY.length)
  if (start < 0) return undefined
  return parseUsage(bytes.toString("utf8", start, endOfObject(bytes, start)))
}

/** A provider's usage with its total filled in; undefined where it is not one. */
export function readUsage(value: unknown): Usage | undefined {
  if (typeof value !== "object" || value === null) return undefined
  const {
    prompt_tokens: prompt,
    completion_tokens: completion = 0,
    total_tokens: total,
  } = value as Partial<Usage>
  if (!isCount(prompt) || !isCount(completion)) return undefined
  return {
    ...value,
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: isCount(total) ? total : prompt + completion,
  }
}

const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** The place after the object that opens at `start`. */
function endOfObject(bytes: Uint8Array, start: number): number {
  let depth = 0
  let isString = false
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]
    if (isString) {
      if (byte === BACKSLASH) at++
      else if (byte === QUOTE) isString = false
    } else if (byte === QUOTE) isString = true
    else if (byte === OPEN_OBJECT) depth++
    else if (byte === CLOSE_OBJECT && --depth === 0) return at + 1
  }
  return bytes.length
}

function parseUsage(text: string): Usage | undefined {
  try {
    return readUsage(JSON.parse(text))
  } catch {
    return undefined
  }
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0
}
