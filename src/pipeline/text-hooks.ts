import { TEXT_WINDOW } from "../plugin/contract.ts"
import { CallContext } from "../plugin/point.ts"
import type { ChatCompletion } from "../protocol/openai.ts"
import type { Call } from "./call.ts"

/** Passes text through the `onText` hooks, one after another. */
async function runTextHooks(
  call: Call,
  { text, choice, isFinal }: { text: string; choice: number; isFinal: boolean },
): Promise<string> {
  const { snapshot, signal } = call.input
  let current = text
  for (const hook of snapshot.hooks.onText) {
    const replaced = await hook.call(
      { ...call.event(), text: current, choice, isFinal },
      new CallContext(signal),
    )
    if (typeof replaced === "string") current = replaced
  }
  return current
}

/** The text of one choice of a stream, of which the end is held back so that a match may span chunks. */
export class TextWindow {
  #held = ""

  constructor(
    private readonly call: Call,
    private readonly choice: number,
  ) {}

  get isEmpty(): boolean {
    return this.#held === ""
  }

  /** Takes new text and returns what may be sent. */
  async push(text: string): Promise<string> {
    const seen = await this.#run(this.#held + text, false)
    const cut = boundary(seen, seen.length - TEXT_WINDOW)
    this.#held = seen.slice(cut)
    return seen.slice(0, cut)
  }

  /** No more text follows: returns all that is left. */
  async flush(text: string): Promise<string> {
    const left = this.#held + text
    this.#held = ""
    return left === "" ? "" : this.#run(left, true)
  }

  #run(text: string, isFinal: boolean): Promise<string> {
    return runTextHooks(this.call, { text, choice: this.choice, isFinal })
  }
}

/** The whole text of a plain completion, hooked. Returns undefined where nothing was changed. */
export async function hookCompletion(
  call: Call,
  completion: ChatCompletion,
): Promise<ChatCompletion | undefined> {
  let isChanged = false
  const choices = await Promise.all(
    completion.choices.map(async (choice) => {
      const { content } = choice.message
      if (typeof content !== "string") return choice
      const hooked = await runTextHooks(call, { text: content, choice: choice.index, isFinal: true })
      if (hooked === content) return choice
      isChanged = true
      return { ...choice, message: { ...choice.message, content: hooked } }
    }),
  )
  return isChanged ? { ...completion, choices } : undefined
}

/** A place at or before `at` that does not split a surrogate pair. */
function boundary(text: string, at: number): number {
  if (at <= 0) return 0
  const unit = text.charCodeAt(at)
  const isLowSurrogate = unit >= 0xdc00 && unit <= 0xdfff
  return isLowSurrogate ? at - 1 : at
}
