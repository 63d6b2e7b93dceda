/** Vectors in the two forms that OpenAI has for them. Source: https://platform.openai.com/docs/api-reference/embeddings */
import type { EmbeddingRequest, EmbeddingResponse } from "./openai.ts"

const BYTES_PER_NUMBER = 4

/** Numbers as base64 of little-endian 32-bit floats. */
export function vectorToBase64(vector: readonly number[]): string {
  const bytes = Buffer.allocUnsafe(vector.length * BYTES_PER_NUMBER)
  for (const [index, number] of vector.entries()) bytes.writeFloatLE(number, index * BYTES_PER_NUMBER)
  return bytes.toString("base64")
}

/** Undefined where the text is no such base64. */
export function vectorFromBase64(text: string): number[] | undefined {
  if (!BASE64.test(text)) return undefined
  const bytes = Buffer.from(text, "base64")
  if (bytes.length % BYTES_PER_NUMBER !== 0) return undefined
  return Array.from({ length: bytes.length / BYTES_PER_NUMBER }, (_, index) =>
    bytes.readFloatLE(index * BYTES_PER_NUMBER),
  )
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

/** The response with its vectors in the form that was asked for; undefined where it has one that is none. */
export function encodedAs(
  response: EmbeddingResponse,
  format: EmbeddingRequest["encoding_format"],
): EmbeddingResponse | undefined {
  const data: EmbeddingResponse["data"] = []
  for (const item of response.data) {
    const embedding = format === "base64" ? toBase64(item?.embedding) : toNumbers(item?.embedding)
    if (embedding === undefined) return undefined
    data.push({ ...item, embedding })
  }
  return { ...response, data }
}

function toBase64(embedding: unknown): string | undefined {
  const numbers = toNumbers(embedding)
  return numbers && vectorToBase64(numbers)
}

function toNumbers(embedding: unknown): number[] | undefined {
  const numbers = typeof embedding === "string" ? vectorFromBase64(embedding) : embedding
  return isVector(numbers) ? numbers : undefined
}

function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every(Number.isFinite)
}

/** Whether a value has the one field that every list of embeddings has. */
export function hasData(value: unknown): value is EmbeddingResponse {
  return typeof value === "object" && value !== null && Array.isArray((value as { data?: unknown }).data)
}
