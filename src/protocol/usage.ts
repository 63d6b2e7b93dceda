import { scanJson } from "./json-scan.ts"
import type { Usage } from "./openai.ts"

/** The usage that a whole reply states, read without parsing the rest of it. */
export function peekUsage(bytes: Uint8Array): Usage | undefined {
  const scan = scanJson(bytes)
  if (scan.kind !== "object") return undefined
  const field = scan.fields.findLast(({ key }) => key === "usage")
  if (field?.kind !== "object") return undefined
  return readUsage(JSON.parse(new TextDecoder().decode(bytes.subarray(field.start, field.end))))
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

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0
}
