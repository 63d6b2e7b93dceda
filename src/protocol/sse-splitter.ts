/**
 * Cuts a stream of bytes into Server-Sent Events without decoding it.
 * Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
import { GatewayError } from "../errors.ts"
import { startsWithByteOrderMark } from "./json-scan.ts"

export interface SseBlock {
  /** Whole events as they were sent, blank lines included; the very chunk where it held nothing else. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** The same, event by event. One may be a comment or a stray blank line: `dataOf` tells. */
  readonly events: readonly Uint8Array<ArrayBuffer>[]
}

export interface SseSplitterOptions {
  /** Who sends, for the error: `provider "x"`. */
  readonly sender?: string
  readonly maxEventBytes?: number
}

/** Room for an image inside one event. */
const MAX_EVENT_BYTES = 8 * 2 ** 20

export class SseSplitter {
  readonly #sender: string
  readonly #maxEventBytes: number
  /** Bytes of an event whose end is still to come, in a buffer with room to grow. */
  #pending = new Uint8Array()
  #pendingLength = 0
  /** Where the line starts that is being read, in the bytes pending. */
  #lineStart = 0
  /** The last byte was CR: a LF at the start of the next chunk belongs to it. */
  #endsInReturn = false
  #isFirst = true

  constructor({ sender = "the provider", maxEventBytes = MAX_EVENT_BYTES }: SseSplitterOptions = {}) {
    this.#sender = sender
    this.#maxEventBytes = maxEventBytes
  }

  /**
   * Takes the next bytes, however they were cut, and returns the events that are whole by now.
   * @throws GatewayError `upstream_invalid_reply` for an event beyond the limit
   */
  push(chunk: Uint8Array<ArrayBuffer>): SseBlock {
    const scanned = this.#pendingLength
    const bytes = scanned === 0 ? chunk : this.#append(chunk)
    const ends = this.#findEnds(bytes, scanned)
    const end = ends.at(-1) ?? 0
    if (end > 0 || scanned === 0) this.#keep(bytes, end)
    if (this.#pendingLength > this.#maxEventBytes) throw this.#tooLarge()
    return this.#cut(bytes, ends)
  }

  /** What has come since the last whole event. */
  rest(): Uint8Array<ArrayBuffer> {
    return this.#pending.subarray(0, this.#pendingLength)
  }

  /** The offsets where events end. `scanned` bytes are known to hold no line end but those before `lineStart`. */
  #findEnds(bytes: Uint8Array, scanned: number): readonly number[] {
    const ends: number[] = []
    let lineStart = this.#lineStart
    if (this.#endsInReturn && bytes[scanned] === LINE_FEED) lineStart = scanned + 1
    let at = scanned
    let carriageReturn = indexOf(bytes, CARRIAGE_RETURN, at)
    for (;;) {
      const lineEnd = Math.min(indexOf(bytes, LINE_FEED, at), carriageReturn)
      if (lineEnd === Number.POSITIVE_INFINITY) break
      const isPair = lineEnd === carriageReturn && bytes[lineEnd + 1] === LINE_FEED
      at = isPair ? lineEnd + 2 : lineEnd + 1
      if (carriageReturn < at) carriageReturn = indexOf(bytes, CARRIAGE_RETURN, at)
      if (lineEnd === lineStart) ends.push(at)
      lineStart = at
    }
    if (bytes.length > scanned) this.#endsInReturn = bytes.at(-1) === CARRIAGE_RETURN
    this.#lineStart = lineStart - (ends.at(-1) ?? 0)
    return ends
  }

  #cut(bytes: Uint8Array<ArrayBuffer>, ends: readonly number[]): SseBlock {
    const end = ends.at(-1)
    if (end === undefined) return NOTHING
    // A byte order mark is no part of the first line.
    const start = this.#isFirst && startsWithByteOrderMark(bytes) ? 3 : 0
    this.#isFirst = false
    const whole = start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end)
    if (ends.length === 1 && end - start <= this.#maxEventBytes) return { bytes: whole, events: [whole] }
    const events = ends.map((eventEnd, index) =>
      bytes.subarray(index === 0 ? start : ends[index - 1], eventEnd),
    )
    if (events.some((event) => event.length > this.#maxEventBytes)) throw this.#tooLarge()
    return { bytes: whole, events }
  }

  /** What follows the last whole event. It has no room to grow, so nothing is ever written over an event. */
  #keep(bytes: Uint8Array<ArrayBuffer>, from: number): void {
    this.#pending = bytes.subarray(from)
    this.#pendingLength = this.#pending.length
  }

  #append(chunk: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const length = this.#pendingLength + chunk.length
    if (length > this.#pending.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#pending.length))
      larger.set(this.rest())
      this.#pending = larger
    }
    this.#pending.set(chunk, this.#pendingLength)
    this.#pendingLength = length
    return this.rest()
  }

  #tooLarge(): GatewayError {
    return new GatewayError(
      "upstream_invalid_reply",
      `${this.#sender} sent an event of more than ${this.#maxEventBytes} bytes`,
    )
  }
}

/** The data of one whole event; undefined for comments and for events without data, which readers skip. */
export function dataOf(event: Uint8Array): string | undefined {
  const text = decoder.decode(event)
  const isOneLine = text.endsWith("\n\n") && text.indexOf("\n") === text.length - 2 && !text.includes("\r")
  if (isOneLine && text.startsWith("data: ")) return text.slice(6, -2)
  const lines = text.split(/\r\n|\r|\n/).flatMap((line) => {
    if (line === "data") return ""
    return line.startsWith("data:") ? line.slice(line[5] === " " ? 6 : 5) : []
  })
  return lines.length === 0 ? undefined : lines.join("\n")
}

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const NOTHING: SseBlock = { bytes: new Uint8Array(), events: [] }

/** A mark inside a stream is text; the one at its start was cut off. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** Native, and several times faster than a loop here; infinity where there is none. */
function indexOf(bytes: Uint8Array, byte: number, from: number): number {
  const at = bytes.indexOf(byte, from)
  return at === -1 ? Number.POSITIVE_INFINITY : at
}
