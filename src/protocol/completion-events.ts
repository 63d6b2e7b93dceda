import type { ChatCompletion, ChatCompletionChunk } from "./openai.ts"
import { DONE_EVENT, encodeChunk } from "./sse.ts"

/** A whole completion as the events of a stream, for providers that do not stream. */
export function completionEvents(completion: ChatCompletion): Uint8Array<ArrayBuffer> {
  const { choices, usage, ...rest } = completion
  const base = { ...rest, object: "chat.completion.chunk" as const }
  const chunks: ChatCompletionChunk[] = choices.map(({ index, message, finish_reason }) => ({
    ...base,
    choices: [{ index, delta: deltaOf(message), finish_reason }],
  }))
  if (usage) chunks.push({ ...base, choices: [], usage })
  return new Uint8Array(Buffer.concat([...chunks.map(encodeChunk), DONE_EVENT]))
}

/** In a stream each tool call carries its place in the list. */
function deltaOf(message: ChatCompletion["choices"][number]["message"]) {
  const { tool_calls: toolCalls, ...delta } = message
  if (toolCalls === undefined) return { ...delta, content: textOf(message.content) }
  return {
    ...delta,
    content: textOf(message.content),
    tool_calls: toolCalls.map((toolCall, index) => ({ index, ...toolCall })),
  }
}

function textOf(content: ChatCompletion["choices"][number]["message"]["content"]): string | null {
  if (content === undefined || content === null || typeof content === "string") return content ?? null
  return content.map((part) => part.text ?? "").join("")
}
