import { waitFor } from "./wait.ts"

/** The lines of a process's output as they come. */
export class Lines {
  readonly all: string[] = []
  /** Resolves when the output ends. */
  readonly ended: Promise<void>

  constructor(output: ReadableStream<Uint8Array>) {
    this.ended = this.#read(output)
  }

  /** The nth line that holds `text`, as soon as it is there. */
  async find(text: string, nth = 1): Promise<string> {
    return waitFor(
      `line ${nth} with "${text}" in:\n${this.all.join("\n")}`,
      () => this.matching(text)[nth - 1],
    )
  }

  matching(text: string): readonly string[] {
    return this.all.filter((line) => line.includes(text))
  }

  async #read(output: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    let rest = ""
    for await (const chunk of output) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n")
      rest = lines.pop() ?? ""
      this.all.push(...lines)
    }
    if (rest !== "") this.all.push(rest)
  }
}
