import { isSecretField, REDACTED, withoutSecretShapes } from "./secrets.ts"

/**
 * Takes secrets out of what is logged, and bounds it: hostile, cyclic, enormous or throwing values come out as
 * small plain data.
 */
export interface Redactor {
  /** A copy of any value that is safe to write. */
  redact(value: unknown): unknown
  redactText(text: string): string
  /**
   * Makes a known secret vanish wherever it appears. One under 4 characters is ignored: taking it out would
   * make ordinary text unreadable.
   */
  addSecret(secret: string): void
}

const MAX_TEXT_LENGTH = 8192
const MAX_TOTAL_LENGTH = 65_536
const MAX_NODES = 1000
const MAX_DEPTH = 16
const MIN_SECRET_LENGTH = 4
/** Text beyond the limit that is looked at too, so that a secret lying across the limit is recognised. */
const OVERLAP_LENGTH = 256

export function createRedactor(): Redactor {
  const forms = new Set<string>()
  let longestFirst: readonly string[] = []
  return { redact, redactText, addSecret }

  function addSecret(secret: string): void {
    if (secret.length < MIN_SECRET_LENGTH) return
    const wellFormed = secret.toWellFormed()
    for (const form of [secret, encodeURIComponent(wellFormed), JSON.stringify(secret).slice(1, -1)]) {
      forms.add(form)
    }
    // A secret may be the beginning of another.
    longestFirst = [...forms].sort((a, b) => b.length - a.length)
  }

  function redactText(text: string): string {
    const overlap = Math.max(OVERLAP_LENGTH, longestFirst[0]?.length ?? 0)
    const seen = text.slice(0, MAX_TEXT_LENGTH + overlap)
    const clean = scrub(seen)
    if (seen.length === text.length && clean.length <= MAX_TEXT_LENGTH) return clean
    // What was seen may end inside a secret: never show its last part.
    const end = seen.length === text.length ? clean.length : Math.max(0, clean.length - overlap)
    return `${clean.slice(0, Math.min(MAX_TEXT_LENGTH, end))}… [${text.length} characters]`
  }

  function scrub(text: string): string {
    let clean = text
    for (const secret of longestFirst) {
      if (clean.includes(secret)) clean = clean.replaceAll(secret, REDACTED)
    }
    return withoutSecretShapes(clean)
  }

  function redact(value: unknown): unknown {
    return new Copy(redactText).of(value)
  }
}

/** One redacted copy in the making: how much of it there is, and where in the original it stands. */
class Copy {
  readonly #redactText: (text: string) => string
  readonly #ancestors = new Set<object>()
  #nodes = 0
  #length = 0

  constructor(redactText: (text: string) => string) {
    this.#redactText = redactText
  }

  of(value: unknown): unknown {
    this.#nodes++
    switch (typeof value) {
      case "string":
        return this.#text(value)
      case "bigint":
      case "symbol":
        return this.#text(String(value))
      case "function":
        return "[function]"
      case "object":
        return value === null ? null : this.#object(value)
      default:
        return value
    }
  }

  #text(text: string): string {
    if (this.#length > MAX_TOTAL_LENGTH) return "[cut]"
    const clean = this.#redactText(text)
    this.#length += clean.length
    return clean
  }

  #object(value: object): unknown {
    if (this.#ancestors.has(value)) return "[circular]"
    if (this.#ancestors.size >= MAX_DEPTH) return "[too deep]"
    this.#ancestors.add(value)
    try {
      return this.#contents(value)
    } catch {
      return "[unreadable]"
    } finally {
      this.#ancestors.delete(value)
    }
  }

  #contents(value: object): unknown {
    if (value instanceof Error) return this.#fields(errorEntries(value))
    if (Array.isArray(value) || value instanceof Set) return this.#list(value)
    if (value instanceof Map || value instanceof Headers || value instanceof URLSearchParams) {
      return this.#fields(value.entries())
    }
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`
    if (value instanceof RegExp) return this.#text(String(value))
    if ("toJSON" in value && typeof value.toJSON === "function") return this.of(value.toJSON())
    return this.#fields(ownEntries(value))
  }

  #list(items: Iterable<unknown>): unknown[] {
    const list: unknown[] = []
    for (const item of items) {
      if (this.#isFull()) return [...list, "[cut]"]
      list.push(this.of(item))
    }
    return list
  }

  #fields(entries: Iterable<readonly [unknown, unknown]>): Record<string, unknown> {
    // Without a prototype, so that a field called `__proto__` is a field.
    const fields: Record<string, unknown> = Object.create(null)
    for (const [key, value] of entries) {
      if (this.#isFull()) {
        fields["…"] = "[cut]"
        break
      }
      const name = String(key)
      fields[this.#text(name)] = isHidden(name, value) ? REDACTED : this.of(value)
    }
    return fields
  }

  #isFull(): boolean {
    return this.#nodes >= MAX_NODES || this.#length > MAX_TOTAL_LENGTH
  }
}

/** That a secret is missing or empty is worth knowing, and is no secret. */
function isHidden(name: string, value: unknown): boolean {
  if (value === null || value === undefined || value === "" || typeof value === "boolean") return false
  return isSecretField(name, value)
}

function* errorEntries(error: Error): Generator<readonly [string, unknown]> {
  yield ["name", error.name]
  yield ["message", error.message]
  for (const [key, value] of ownEntries(error)) {
    if (key !== "name" && key !== "message" && key !== "stack") yield [key, value]
  }
  if (error.cause !== undefined && !Object.keys(error).includes("cause")) yield ["cause", error.cause]
  if (error instanceof AggregateError) yield ["errors", error.errors]
  yield ["stack", error.stack]
}

function* ownEntries(value: object): Generator<readonly [string, unknown]> {
  for (const key of Object.keys(value)) {
    let property: unknown
    try {
      property = Reflect.get(value, key)
    } catch {
      property = "[unreadable]"
    }
    yield [key, property]
  }
}
