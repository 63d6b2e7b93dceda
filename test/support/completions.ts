/** OpenAI replies as an upstream writes them. */
import type { ChatCompletion, ChatCompletionChunk } from "../../src/protocol/openai.ts"

const USAGE = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } as const

export function completion(model: string, text: string): ChatCompletion {
  return {
    id: `chatcmpl-${model}`,
    object: "chat.completion",
    created: 1_700_000_000,
    model,
    choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
    usage: USAGE,
  }
}

export function textChunk(model: string, text: string): ChatCompletionChunk {
  return chunk(model, [{ index: 0, delta: { content: text }, finish_reason: null }])
}

function lastChunk(model: string): ChatCompletionChunk {
  return { ...chunk(model, [{ index: 0, delta: {}, finish_reason: "stop" }]), usage: USAGE }
}

export function sseEvent(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`
}

/** A whole streamed answer, one event a string. */
export function streamedAnswer(model: string, words: readonly string[]): string[] {
  return [
    sseEvent(chunk(model, [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }])),
    ...words.map((word) => sseEvent(textChunk(model, word))),
    sseEvent(lastChunk(model)),
    "data: [DONE]\n\n",
  ]
}

export function errorBody(message: string, type = "server_error", code: string | null = null): string {
  return JSON.stringify({ error: { message, type, code, param: null } })
}

function chunk(model: string, choices: ChatCompletionChunk["choices"]): ChatCompletionChunk {
  return {
    id: `chatcmpl-${model}`,
    object: "chat.completion.chunk",
    created: 1_700_000_000,
    model,
    choices,
  }
}
