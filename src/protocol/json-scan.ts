/**
 * Finds the top-level fields of a JSON text without building it, in agreement with
 * `JSON.parse(new TextDecoder().decode(bytes))` on every input, with one exception: nesting deeper than
 * `MAX_DEPTH` is refused. JSON.parse has no limit, but whatever walks its result would overflow the stack.
 *
 * UTF-8 needs no decoding here. A decoder never swallows an ASCII byte, all of JSON's syntax is ASCII, and
 * inside a string every other character is allowed, the replacement for invalid UTF-8 included.
 */
export type JsonKind = "string" | "number" | "boolean" | "null" | "array" | "object"

export interface JsonField {
  readonly key: string
  readonly kind: JsonKind
  /** Where the value starts, in bytes; a string's quotes belong to it. */
  readonly start: number
  readonly end: number
}

export type ScanResult =
  /** Fields in order. Of a key that occurs twice, JSON.parse keeps the last. */
  | { readonly kind: "object"; readonly fields: readonly JsonField[] }
  /** Valid JSON, but not an object. */
  | { readonly kind: "other" }
  /** `message` says what is wrong and where; of the text it shows one character. */
  | { readonly kind: "invalid"; readonly offset: number; readonly message: string }

/** Keys that are recognised without decoding them, by length. */
export type ExpectedKeys = readonly (readonly string[])[]

export const MAX_DEPTH = 1000

export function scanJson(bytes: Uint8Array, expectedKeys: ExpectedKeys = []): ScanResult {
  const scanner = new Scanner(bytes, expectedKeys)
  const start = scanner.space(startsWithByteOrderMark(bytes) ? 3 : 0)
  const fields: JsonField[] = []
  const isObject = bytes[start] === OPEN_OBJECT
  const end = isObject ? scanner.object(start, 0, fields) : scanner.value(start, 0)
  if (end !== FAULT && scanner.isLast(end)) return isObject ? { kind: "object", fields } : { kind: "other" }
  return { kind: "invalid", offset: scanner.faultAt, message: scanner.describeFault() }
}

export function expectKeys(keys: readonly string[]): ExpectedKeys {
  const longest = Math.max(0, ...keys.map((key) => key.length))
  return Array.from({ length: longest + 1 }, (_, length) => keys.filter((key) => key.length === length))
}

/** The value of a field whose kind is `string`. */
export function readString(bytes: Uint8Array, field: JsonField): string {
  return decodeString(bytes, field.start, field.end)
}

/** Whether a text starts with the mark that UTF-8 decoders drop. */
export function startsWithByteOrderMark(bytes: Uint8Array): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
}

const FAULT = -1

const QUOTE = 0x22
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const LETTER_E = 0x65
const LETTER_F = 0x66
const LETTER_N = 0x6e
const LETTER_T = 0x74
const LETTER_U = 0x75
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** Bytes of a run after which looking natively is worth its start. */
const LONG_RUN = 256

/** 1 for the bytes that end a plain run inside a string: quote, backslash, control characters. */
const ENDS_RUN = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < 0x20 || byte === QUOTE || byte === BACKSLASH ? 1 : 0,
)

/** 1 for what may follow a backslash, but for `u`, which needs four digits after it. */
const IS_ESCAPE = Uint8Array.from({ length: 256 }, (_, byte) =>
  '"\\/bfnrt'.includes(String.fromCharCode(byte)) ? 1 : 0,
)

/**
 * Each method takes the offset where its subject starts and returns the one after it, or `FAULT`.
 * A class, because creating its dozen methods as closures would cost more than scanning a small body.
 */
class Scanner {
  faultAt = 0
  private isTooDeep = false
  /** Each byte as one character. */
  private text: string | undefined
  private runEnd: RegExp | undefined

  constructor(
    private readonly bytes: Uint8Array,
    private readonly expectedKeys: ExpectedKeys,
  ) {}

  isLast(end: number): boolean {
    const rest = this.space(end)
    return rest === this.bytes.length || this.unexpected(rest) !== FAULT
  }

  space(start: number): number {
    const { bytes } = this
    let at = start
    while (at < bytes.length) {
      const byte = bytes[at] as number
      if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break
      at++
    }
    return at
  }

  value(at: number, depth: number): number {
    switch (this.bytes[at]) {
      case QUOTE:
        return this.string(at)
      case OPEN_OBJECT:
        return this.object(at, depth)
      case OPEN_ARRAY:
        return this.array(at, depth)
      case LETTER_T:
        return this.literal(at, "true")
      case LETTER_F:
        return this.literal(at, "false")
      case LETTER_N:
        return this.literal(at, "null")
      default:
        return this.number(at)
    }
  }

  object(start: number, depth: number, fields?: JsonField[]): number {
    const { bytes } = this
    if (depth === MAX_DEPTH) return this.tooDeep(start)
    let at = this.space(start + 1)
    if (bytes[at] === CLOSE_OBJECT) return at + 1
    for (;;) {
      const keyStart = at
      if (bytes[at] !== QUOTE) return this.unexpected(at)
      const keyEnd = this.string(at)
      if (keyEnd === FAULT) return FAULT
      at = this.space(keyEnd)
      if (bytes[at] !== COLON) return this.unexpected(at)
      const valueStart = this.space(at + 1)
      const valueEnd = this.value(valueStart, depth + 1)
      if (valueEnd === FAULT) return FAULT
      fields?.push({
        key: this.key(keyStart, keyEnd),
        kind: kindOf(bytes[valueStart]),
        start: valueStart,
        end: valueEnd,
      })
      at = this.space(valueEnd)
      if (bytes[at] === CLOSE_OBJECT) return at + 1
      if (bytes[at] !== COMMA) return this.unexpected(at)
      at = this.space(at + 1)
    }
  }

  private array(start: number, depth: number): number {
    const { bytes } = this
    if (depth === MAX_DEPTH) return this.tooDeep(start)
    let at = this.space(start + 1)
    if (bytes[at] === CLOSE_ARRAY) return at + 1
    for (;;) {
      at = this.value(at, depth + 1)
      if (at === FAULT) return FAULT
      at = this.space(at)
      if (bytes[at] === CLOSE_ARRAY) return at + 1
      if (bytes[at] !== COMMA) return this.unexpected(at)
      at = this.space(at + 1)
    }
  }

  /** Nearly all of a request is inside strings: this loop is what a scan costs (bench/scan.ts). */
  private string(start: number): number {
    const { bytes } = this
    const lastEight = bytes.length - 8
    let at = start + 1
    for (;;) {
      const longAt = at + LONG_RUN
      while (at <= lastEight && at < longAt && isPlainRun(bytes, at)) at += 8
      if (at >= longAt) at = this.endOfRun(at)
      while (at < bytes.length && ENDS_RUN[bytes[at] as number] === 0) at++
      if (bytes[at] === QUOTE) return at + 1
      if (bytes[at] !== BACKSLASH) return this.unexpected(at)
      if (IS_ESCAPE[bytes[at + 1] ?? 0] === 1) {
        at += 2
      } else {
        at = this.unicodeEscape(at)
        if (at === FAULT) return FAULT
      }
    }
  }

  /** The end of a run that is long already: the regular expression engine looks at many bytes at a time. */
  private endOfRun(at: number): number {
    const { bytes } = this
    this.text ??= Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what may not be in a string
    this.runEnd ??= /[\0-\x1f"\\]/g
    this.runEnd.lastIndex = at
    return this.runEnd.test(this.text) ? this.runEnd.lastIndex - 1 : bytes.length
  }

  private unicodeEscape(start: number): number {
    const { bytes } = this
    if (bytes[start + 1] !== LETTER_U) return this.unexpected(start + 1)
    const end = start + 6
    for (let at = start + 2; at < end; at++) {
      if (!isHexDigit(bytes[at])) return this.unexpected(at)
    }
    return end
  }

  private number(start: number): number {
    const { bytes } = this
    let at = bytes[start] === MINUS ? start + 1 : start
    at = bytes[at] === ZERO ? at + 1 : this.digits(at)
    if (at !== FAULT && bytes[at] === DOT) at = this.digits(at + 1)
    if (at !== FAULT && isLetterE(bytes[at])) {
      const sign = bytes[at + 1]
      at = this.digits(sign === PLUS || sign === MINUS ? at + 2 : at + 1)
    }
    return at
  }

  private digits(start: number): number {
    let at = start
    while (isDigit(this.bytes[at])) at++
    return at === start ? this.unexpected(at) : at
  }

  private literal(start: number, word: string): number {
    for (let index = 1; index < word.length; index++) {
      if (this.bytes[start + index] !== word.charCodeAt(index)) return this.unexpected(start + index)
    }
    return start + word.length
  }

  private key(start: number, end: number): string {
    const length = end - start - 2
    for (const key of this.expectedKeys[length] ?? []) {
      let index = 0
      while (index < length && key.charCodeAt(index) === this.bytes[start + 1 + index]) index++
      if (index === length) return key
    }
    return decodeString(this.bytes, start, end)
  }

  private unexpected(at: number): number {
    this.faultAt = at
    return FAULT
  }

  private tooDeep(at: number): number {
    this.isTooDeep = true
    return this.unexpected(at)
  }

  describeFault(): string {
    const { bytes, faultAt } = this
    const place = describePlace(bytes, faultAt)
    if (this.isTooDeep) return `more than ${MAX_DEPTH} levels of nesting at ${place}`
    return `unexpected ${describeCharacter(bytes, faultAt)} at ${place}`
  }
}

function isPlainRun(bytes: Uint8Array, at: number): boolean {
  return (
    ((ENDS_RUN[bytes[at] as number] as number) |
      (ENDS_RUN[bytes[at + 1] as number] as number) |
      (ENDS_RUN[bytes[at + 2] as number] as number) |
      (ENDS_RUN[bytes[at + 3] as number] as number) |
      (ENDS_RUN[bytes[at + 4] as number] as number) |
      (ENDS_RUN[bytes[at + 5] as number] as number) |
      (ENDS_RUN[bytes[at + 6] as number] as number) |
      (ENDS_RUN[bytes[at + 7] as number] as number)) ===
    0
  )
}

/** The kind of a valid value, by its first byte. */
function kindOf(byte: number | undefined): JsonKind {
  switch (byte) {
    case QUOTE:
      return "string"
    case OPEN_OBJECT:
      return "object"
    case OPEN_ARRAY:
      return "array"
    case LETTER_T:
    case LETTER_F:
      return "boolean"
    case LETTER_N:
      return "null"
    default:
      return "number"
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= 0x39
}

function isHexDigit(byte: number | undefined): boolean {
  const letter = (byte ?? 0) | 0x20
  return isDigit(byte) || (letter >= 0x61 && letter <= LETTER_F)
}

function isLetterE(byte: number | undefined): boolean {
  return byte === LETTER_E || byte === 0x45
}

/** Decodes a valid string. Keys and model names are nearly always plain ASCII. */
function decodeString(bytes: Uint8Array, start: number, end: number): string {
  for (let at = start + 1; at < end - 1; at++) {
    const byte = bytes[at] as number
    if (byte >= 0x80 || byte === BACKSLASH) {
      return JSON.parse(new TextDecoder().decode(bytes.subarray(start, end)))
    }
  }
  return Buffer.prototype.toString.call(bytes, "latin1", start + 1, end - 1)
}

function describeCharacter(bytes: Uint8Array, at: number): string {
  const [character] = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(at, at + 4))
  if (character === undefined) return "end"
  if (character === " " || !/[\p{C}\p{Z}]/u.test(character)) return JSON.stringify(character)
  return `character U+${character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}`
}

function describePlace(bytes: Uint8Array, at: number): string {
  let line = 1
  let lineStart = startsWithByteOrderMark(bytes) ? 3 : 0
  for (let end = bytes.indexOf(0x0a); end !== -1 && end < at; end = bytes.indexOf(0x0a, end + 1)) {
    line++
    lineStart = end + 1
  }
  const column = new TextDecoder().decode(bytes.subarray(lineStart, at)).length + 1
  return `line ${line}, column ${column}`
}
