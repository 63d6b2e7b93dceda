import { GatewayError } from "../errors.ts"
import { isObject } from "./json-object.ts"
import type { Usage } from "./openai.ts"
import { DONE } from "./sse.ts"
import { dataOf, SseSplitter } from "./sse-splitter.ts"
import { readFault, type UpstreamFault } from "./upstream-error.ts"
import { readUsage } from "./usage.ts"

export interface StreamWatcherOptions {
  /** For errors. */
  readonly provider?: string
  readonly maxEventBytes?: number
}

/**
 * Watches a provider's stream of chat completion chunks on its way through. It hands on whole events only, so
 * that whatever the gateway sends next starts on a line of its own, and parses only events that matter to it.
 */
export class StreamWatcher {
  /** Events with data so far, `[DONE]` not counted. */
  dataEvents = 0
  /** The last usage seen. */
  usage: Usage | undefined
  /** The error event that ended the stream. Neither it nor anything after it, or after `[DONE]`, is handed on. */
  error: UpstreamFault | undefined
  readonly #sender: string
  readonly #splitter: SseSplitter
  #isDone = false
  #hasFinishReason = false

  constructor({ provider, ...limits }: StreamWatcherOptions = {}) {
    this.#sender = provider === undefined ? "the provider" : `provider "${provider}"`
    this.#splitter = new SseSplitter({ sender: this.#sender, ...limits })
  }

  /** Whether the answer is whole: `[DONE]`, or a finish_reason from providers that leave out `[DONE]`. */
  get isFinished(): boolean {
    return this.#isDone || (this.#hasFinishReason && this.error === undefined)
  }

  /**
   * Takes bytes as they came and returns the whole events that may be sent; the same bytes where they are just that.
   * @throws GatewayError `upstream_invalid_reply` for an event without end and for a first one that is not JSON
   */
  feed(chunk: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    if (this.#isOver) return EMPTY
    const { bytes, events } = this.#splitter.push(chunk)
    let passed = 0
    for (const event of events) {
      this.#see(event)
      if (this.error === undefined) passed += event.length
      if (this.#isOver) return bytes.subarray(0, passed)
    }
    return bytes
  }

  /**
   * At the end of the stream: the event that no blank line ended, if it is whole all the same. WHATWG drops it,
   * but some providers end their last event, and so their stream, too early.
   */
  end(): Uint8Array<ArrayBuffer> {
    const data = dataOf(this.#splitter.rest())
    if (data === undefined || (data !== DONE && parseObject(data) === undefined)) return EMPTY
    return this.feed(BLANK_LINES)
  }

  get #isOver(): boolean {
    return this.#isDone || this.error !== undefined
  }

  #see(event: Uint8Array): void {
    if (!startsWithObject(event)) {
      const data = dataOf(event)
      if (data === undefined) return
      if (data === DONE) {
        this.#isDone = true
        return
      }
    }
    this.dataEvents++
    const isFirst = this.dataEvents === 1
    if (!isFirst && !isTelling(event)) return
    const chunk = parseObject(dataOf(event) ?? "")
    if (chunk !== undefined) this.#read(chunk)
    else if (isFirst) throw this.#notJson()
  }

  #read(chunk: Readonly<Record<string, unknown>>): void {
    const { error, usage, choices, x_groq: groq } = chunk
    if (error) this.error = readFault(chunk)
    this.usage = readUsage(usage) ?? readUsage(isObject(groq) ? groq.usage : undefined) ?? this.usage
    if (Array.isArray(choices) && choices.some(isFinal)) this.#hasFinishReason = true
  }

  #notJson(): GatewayError {
    return new GatewayError(
      "upstream_invalid_reply",
      `${this.#sender} began its stream with an event that is not a JSON object`,
    )
  }
}

const { indexOf } = Buffer.prototype
const EMPTY = new Uint8Array()
const BLANK_LINES = new TextEncoder().encode("\n\n")

const QUOTE = 0x22
const COLON = 0x3a
const LETTER_N = 0x6e
const OPEN_OBJECT = 0x7b

/** In the text of an answer these have a backslash before each quote, so they only match keys and whole strings. */
const ERROR_KEY = Buffer.from('"error"')
const USAGE_KEY = Buffer.from('"usage"')
const FINISH_KEY = Buffer.from('"finish_reason"')

/** `data: {` or `data:{`, as nearly every event starts. */
function startsWithObject(event: Uint8Array): boolean {
  if (event[0] !== 0x64 || event[1] !== 0x61 || event[2] !== 0x74 || event[3] !== 0x61) return false
  return event[4] === COLON && (event[5] === OPEN_OBJECT || (event[5] === 0x20 && event[6] === OPEN_OBJECT))
}

/** Whether an event may hold an error, usage or a finish_reason: a few native searches instead of a parse. */
function isTelling(event: Uint8Array): boolean {
  return (
    hasValue(event, ERROR_KEY, (first) => first !== LETTER_N) ||
    hasValue(event, USAGE_KEY, (first) => first === OPEN_OBJECT) ||
    hasValue(event, FINISH_KEY, (first, second) => first === QUOTE && second !== QUOTE)
  )
}

function hasValue(
  event: Uint8Array,
  key: Buffer,
  isTold: (first: number | undefined, second: number | undefined) => boolean,
): boolean {
  let at = indexOf.call(event, key, 0)
  while (at !== -1) {
    at += key.length
    while (event[at] === 0x20 || event[at] === COLON) at++
    if (isTold(event[at], event[at + 1])) return true
    at = indexOf.call(event, key, at)
  }
  return false
}

function isFinal(choice: unknown): boolean {
  return isObject(choice) && typeof choice.finish_reason === "string" && choice.finish_reason !== ""
}

function parseObject(data: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(data)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
