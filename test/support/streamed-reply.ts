/** A streamed reply, event by event, with the way it ended. */
import { createParser } from "eventsource-parser"
import type { ChatCompletionChunk, OpenAiErrorBody } from "../../src/protocol/openai.ts"
import { within } from "./wait.ts"

export interface WholeStream {
  /** The text of all chunks. */
  readonly text: string
  readonly chunks: readonly ChatCompletionChunk[]
  readonly finishReason: string | undefined
  /** The error event, if there was one. */
  readonly error: OpenAiErrorBody["error"] | undefined
  /** `[DONE]` was sent. */
  readonly isDone: boolean
  /** What followed the error event or `[DONE]`. */
  readonly afterTheEnd: readonly string[]
  /** Events that are neither a chunk nor an error. */
  readonly garbage: readonly string[]
  /** `broken`: the connection was cut inside the body. */
  readonly end: "clean" | "broken"
}

export interface StreamReader {
  /** Waits until some text has arrived. */
  untilText(): Promise<void>
  /** Reads to the end. */
  rest(): Promise<WholeStream>
  cancel(): Promise<void>
}

export function readStream(response: Response): StreamReader {
  const events: string[] = []
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  const parser = createParser({ onEvent: (event) => void events.push(event.data) })
  let end: WholeStream["end"] | undefined

  return {
    untilText: () =>
      within(
        "the first text of a stream",
        pullUntil(() => summary().text !== ""),
      ),
    async rest() {
      await within(
        "the end of a stream",
        pullUntil(() => false),
      )
      return summary()
    },
    async cancel() {
      await reader?.cancel()
    },
  }

  async function pullUntil(isEnough: () => boolean): Promise<void> {
    while (end === undefined && !isEnough()) {
      try {
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
        if (done) end = "clean"
        else parser.feed(decoder.decode(value, { stream: true }))
      } catch {
        end = "broken"
      }
    }
  }

  function summary(): WholeStream {
    return { ...summarise(events), end: end ?? "clean" }
  }
}

export async function readWholeStream(response: Response): Promise<WholeStream> {
  return await readStream(response).rest()
}

function summarise(events: readonly string[]): Omit<WholeStream, "end"> {
  const chunks: ChatCompletionChunk[] = []
  const garbage: string[] = []
  let error: OpenAiErrorBody["error"] | undefined
  let endIndex = events.length
  for (const [index, data] of events.entries()) {
    if (data === "[DONE]") {
      endIndex = index
      break
    }
    const value = parse(data)
    if (isChunk(value)) chunks.push(value)
    else if (isErrorBody(value)) {
      error = value.error
      endIndex = index
      break
    } else garbage.push(data.slice(0, 80))
  }
  return {
    text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""),
    chunks,
    finishReason: chunks.map((chunk) => chunk.choices[0]?.finish_reason).findLast(Boolean) ?? undefined,
    error,
    isDone: events[endIndex] === "[DONE]",
    afterTheEnd: events.slice(endIndex + 1),
    garbage,
  }
}

function isErrorBody(value: unknown): value is OpenAiErrorBody {
  return typeof value === "object" && value !== null && "error" in value
}

function isChunk(value: unknown): value is ChatCompletionChunk {
  return typeof value === "object" && value !== null && Array.isArray((value as ChatCompletionChunk).choices)
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}
