/** A client's chat request, and what came back. */
import {
  type ChatCompletion,
  type ChatCompletionChunk,
  type ChatRequest,
  hasChoices,
  type OpenAiErrorBody,
} from "../protocol/openai.ts"
import { DONE, eventData } from "../protocol/sse.ts"

export interface ChatOptions extends Partial<ChatRequest> {
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface ChatReply {
  readonly status: number
  readonly headers: Headers
  /** What the model said, of all chunks together where it was streamed; empty where it failed. */
  readonly text: string
  /** The whole reply, where it was not streamed and is JSON. */
  readonly completion: ChatCompletion | undefined
  /** Of a streamed reply, in order. */
  readonly chunks: readonly ChatCompletionChunk[]
  /** The gateway's or the provider's error, of an error body or from within a stream. */
  readonly error: OpenAiErrorBody["error"] | undefined
}

export async function postChat(url: string, prompt: string, options: ChatOptions = {}): Promise<ChatReply> {
  const { headers, signal, ...fields } = options
  const response = await fetch(new URL("/v1/chat/completions", url), {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: "test-model", messages: [{ role: "user", content: prompt }], ...fields }),
    ...(signal !== undefined && { signal }),
  })
  return readReply(response)
}

async function readReply(response: Response): Promise<ChatReply> {
  const { status, headers } = response
  const bytes = new Uint8Array(await response.arrayBuffer())
  const isStream = headers.get("content-type")?.startsWith("text/event-stream") ?? false
  const values = isStream
    ? eventData(bytes).filter((data) => data !== DONE)
    : [new TextDecoder().decode(bytes)]
  const parsed = values.map(jsonIn)
  const replies = parsed.filter(hasChoices)
  return {
    status,
    headers,
    text: replies.flatMap(({ choices }) => choices.map(textOf)).join(""),
    completion: isStream ? undefined : (replies[0] as ChatCompletion | undefined),
    chunks: isStream ? (replies as readonly unknown[] as readonly ChatCompletionChunk[]) : [],
    error: parsed.find(isErrorBody)?.error,
  }
}

/** A middleware may answer with anything. */
function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function textOf(choice: unknown): string {
  const { message, delta } = choice as Readonly<Record<string, { readonly content?: unknown } | undefined>>
  const content = (message ?? delta)?.content
  return typeof content === "string" ? content : ""
}

function isErrorBody(value: unknown): value is OpenAiErrorBody {
  return typeof value === "object" && value !== null && "error" in value
}
