/** Transforms, `onChunk` and `onText` over a stream: events are parsed, changed, and written again. */
import { CallContext } from "../plugin/point.ts"
import { type ChatCompletionChunk, hasChoices } from "../protocol/openai.ts"
import { DONE, DONE_EVENT, encodeChunk, encodeData, eventData } from "../protocol/sse.ts"
import type { Call } from "./call.ts"
import { TextWindow } from "./text-hooks.ts"
import { transformChunk } from "./transforms.ts"

type Choice = ChatCompletionChunk["choices"][number]

export class ChunkHooks {
  readonly #call: Call
  readonly #windows = new Map<number, TextWindow>()
  #index = 0
  #last: ChatCompletionChunk | undefined
  #failure: { readonly thrown: unknown } | undefined

  constructor(call: Call) {
    this.#call = call
  }

  /** Whether anybody looks at the chunks of this call. */
  static isWanted({ input: { snapshot } }: Call): boolean {
    const { hooks, transforms } = snapshot
    return hooks.onChunk.length > 0 || hooks.onText.length > 0 || transforms.chunk.length > 0
  }

  /** Takes the bytes of whole events and returns those to send instead: up to a hook that ended the stream. */
  async rewrite(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const out: Uint8Array[] = []
    try {
      for (const data of eventData(bytes)) out.push(...(await this.#event(data)))
    } catch (thrown) {
      this.#failure = { thrown }
    }
    return new Uint8Array(Buffer.concat(out))
  }

  /** @throws GatewayError with which a hook ended the stream, once what came before it was sent */
  throwIfEnded(): void {
    if (this.#failure !== undefined) throw this.#failure.thrown
  }

  /** The text that is still held back when a stream ends without `[DONE]`. */
  async end(): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(Buffer.concat(await this.#flush()))
  }

  async #event(data: string): Promise<readonly Uint8Array[]> {
    if (data === DONE) return [...(await this.#flush()), DONE_EVENT]
    const chunk: unknown = parse(data)
    if (!isChunk(chunk)) return [encodeData(data)]
    const { transforms } = this.#call.input.snapshot
    const transformed = transforms.chunk.length === 0 ? chunk : await transformChunk(this.#call, chunk)
    const hooked = transformed && (await this.#onChunk(transformed))
    const sent = hooked && (await this.#onText(hooked))
    return sent ? [encodeChunk(sent)] : []
  }

  async #onChunk(chunk: ChatCompletionChunk): Promise<ChatCompletionChunk | undefined> {
    const call = this.#call
    const { snapshot, signal } = call.input
    const index = this.#index++
    let current = chunk
    for (const hook of snapshot.hooks.onChunk) {
      const result = await hook.call({ ...call.event(), chunk: current, index }, new CallContext(signal))
      if (result === null) return undefined
      if (result !== undefined) current = result
    }
    return current
  }

  async #onText(chunk: ChatCompletionChunk): Promise<ChatCompletionChunk | undefined> {
    if (this.#call.input.snapshot.hooks.onText.length === 0) return chunk
    this.#last = chunk
    const choices: Choice[] = []
    for (const choice of chunk.choices) {
      const hooked = await this.#hookText(choice)
      if (hooked !== undefined) choices.push(hooked)
    }
    return choices.length > 0 || chunk.choices.length === 0 ? { ...chunk, choices } : undefined
  }

  /** Returns the choice with the text that may be sent now; undefined where nothing of it is left to send. */
  async #hookText(choice: Choice): Promise<Choice | undefined> {
    const { content, ...delta } = choice.delta
    const isFinal = choice.finish_reason !== undefined && choice.finish_reason !== null
    if (!content && !isFinal) return choice
    const window = this.#window(choice.index)
    const sent = isFinal ? await window.flush(content ?? "") : await window.push(content ?? "")
    if (sent !== "") return { ...choice, delta: { ...delta, content: sent } }
    return isFinal || Object.keys(delta).length > 0 ? { ...choice, delta } : undefined
  }

  async #flush(): Promise<readonly Uint8Array[]> {
    const out: Uint8Array[] = []
    for (const [index, window] of this.#windows) {
      if (window.isEmpty || this.#last === undefined) continue
      const content = await window.flush("")
      const { usage: _, ...last } = this.#last
      out.push(encodeChunk({ ...last, choices: [{ index, delta: { content }, finish_reason: null }] }))
    }
    return out
  }

  #window(choice: number): TextWindow {
    const known = this.#windows.get(choice)
    if (known !== undefined) return known
    const window = new TextWindow(this.#call, choice)
    this.#windows.set(choice, window)
    return window
  }
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}

function isChunk(value: unknown): value is ChatCompletionChunk {
  return hasChoices(value)
}
