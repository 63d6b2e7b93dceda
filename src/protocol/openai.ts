/**
 * OpenAI chat completions: the gateway's neutral form.
 * Source: https://platform.openai.com/docs/api-reference/chat. Unknown fields are kept.
 */
export interface ChatRequest {
  model: string
  messages: ChatMessage[]
  stream?: boolean | null
  stream_options?: { include_usage?: boolean; [field: string]: unknown } | null
  temperature?: number | null
  top_p?: number | null
  max_tokens?: number | null
  max_completion_tokens?: number | null
  n?: number | null
  stop?: string | string[] | null
  tools?: ChatTool[] | null
  tool_choice?: unknown
  response_format?: unknown
  user?: string | null
  metadata?: Record<string, unknown> | null
  [field: string]: unknown
}

export interface ChatMessage {
  role: "system" | "developer" | "user" | "assistant" | "tool" | "function" | (string & {})
  content?: string | ContentPart[] | null
  name?: string
  tool_calls?: ToolCall[]
  tool_call_id?: string
  [field: string]: unknown
}

export interface ContentPart {
  type: string
  text?: string
  [field: string]: unknown
}

export interface ChatTool {
  type: string
  function?: { name: string; description?: string; parameters?: unknown; [field: string]: unknown }
  [field: string]: unknown
}

export interface ToolCall {
  id: string
  type: string
  function: { name: string; arguments: string }
  [field: string]: unknown
}

export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  [field: string]: unknown
}

/** Source: https://platform.openai.com/docs/api-reference/embeddings */
export interface EmbeddingRequest {
  model: string
  input: string | string[] | number[] | number[][]
  encoding_format?: "float" | "base64" | null
  dimensions?: number | null
  user?: string | null
  [field: string]: unknown
}

export interface EmbeddingResponse {
  object: "list"
  /** A vector as numbers, or as base64 of little-endian 32-bit floats. */
  data: { object: "embedding"; index: number; embedding: number[] | string; [field: string]: unknown }[]
  model: string
  usage: { prompt_tokens: number; total_tokens: number; [field: string]: unknown }
  [field: string]: unknown
}

export interface ChatCompletion {
  id: string
  object: "chat.completion"
  created: number
  model: string
  choices: {
    index: number
    message: ChatMessage
    finish_reason: string | null
    [field: string]: unknown
  }[]
  usage?: Usage | null
  [field: string]: unknown
}

export interface ChatCompletionChunk {
  id: string
  object: "chat.completion.chunk"
  created: number
  model: string
  choices: {
    index: number
    delta: {
      role?: string
      content?: string | null
      tool_calls?: unknown[]
      [field: string]: unknown
    }
    finish_reason?: string | null
    [field: string]: unknown
  }[]
  usage?: Usage | null
  [field: string]: unknown
}

/** The error body that OpenAI's clients expect. */
export interface OpenAiErrorBody {
  error: { message: string; type: string; code: string | null; param: string | null; details?: unknown }
}

/** A view nobody may write through; shared objects are also frozen at run time. */
export type DeepReadonly<T> = T extends (...args: never[]) => unknown
  ? T
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T

/** Whether a value has the one field that every completion and every chunk has. */
export function hasChoices(value: unknown): value is { readonly choices: readonly unknown[] } {
  return (
    typeof value === "object" && value !== null && Array.isArray((value as { choices?: unknown }).choices)
  )
}
