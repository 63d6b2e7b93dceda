/** What a request for embeddings may have as its input, looked at in bytes that are known to be JSON. */
import type { JsonField } from "./json-scan.ts"

export type InputFault = "empty" | "mixed"

const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const ZERO = 0x30
const NINE = 0x39
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d

/**
 * Why a field whose kind is `string` or `array` is no text, list of texts, list of tokens, or list of such lists.
 * What a provider makes of an empty item is its own affair.
 */
export function inputFault(bytes: Uint8Array, { start, end }: JsonField): InputFault | undefined {
  if (bytes[start] === QUOTE) return end - start === 2 ? "empty" : undefined
  let at = skipSpace(bytes, start + 1)
  if (bytes[at] === CLOSE_ARRAY) return "empty"
  const skip = skipperOf(bytes[at])
  for (;;) {
    const next = skip?.(bytes, at)
    if (next === undefined) return "mixed"
    at = skipSpace(bytes, next)
    if (bytes[at] === CLOSE_ARRAY) return undefined
    at = skipSpace(bytes, at + 1)
  }
}

/** Returns the place after one item, or undefined where the item is of another kind. */
type Skip = (bytes: Uint8Array, at: number) => number | undefined

function skipperOf(byte: number | undefined): Skip | undefined {
  if (byte === QUOTE) return skipText
  if (byte === OPEN_ARRAY) return skipTokens
  return skipToken
}

function skipText(bytes: Uint8Array, start: number): number | undefined {
  if (bytes[start] !== QUOTE) return undefined
  let at = start + 1
  while (bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1
  return at + 1
}

function skipToken(bytes: Uint8Array, start: number): number | undefined {
  let at = start
  while (isDigit(bytes[at])) at++
  const isWhole = at > start && endsItem(bytes[at])
  return isWhole ? at : undefined
}

function skipTokens(bytes: Uint8Array, start: number): number | undefined {
  if (bytes[start] !== OPEN_ARRAY) return undefined
  let at = skipSpace(bytes, start + 1)
  if (bytes[at] === CLOSE_ARRAY) return at + 1
  for (;;) {
    const next = skipToken(bytes, at)
    if (next === undefined) return undefined
    at = skipSpace(bytes, next)
    if (bytes[at] === CLOSE_ARRAY) return at + 1
    at = skipSpace(bytes, at + 1)
  }
}

function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start
  while ((bytes[at] as number) <= SPACE) at++
  return at
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE
}

function endsItem(byte: number | undefined): boolean {
  return byte === COMMA || byte === CLOSE_ARRAY || (byte !== undefined && byte <= SPACE)
}
