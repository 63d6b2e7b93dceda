/** OpenAI's chat completions as Server-Sent Events, and its error body. */
import type { GatewayError } from "../errors.ts"
import type { ChatCompletionChunk, OpenAiErrorBody } from "./openai.ts"
import { dataOf, SseSplitter } from "./sse-splitter.ts"
import { upstreamFault } from "./upstream-error.ts"

export const DONE = "[DONE]"
export const DONE_EVENT: Uint8Array<ArrayBuffer> = encodeData(DONE)

/** The data of each event in bytes that hold whole events, as `StreamWatcher` hands them out. */
export function eventData(bytes: Uint8Array<ArrayBuffer>): readonly string[] {
  return new SseSplitter().push(bytes).events.flatMap((event) => dataOf(event) ?? [])
}

export function encodeChunk(chunk: ChatCompletionChunk): Uint8Array<ArrayBuffer> {
  return encodeData(JSON.stringify(chunk))
}

/** An event that ends a stream in failure. No `[DONE]` follows it: that would claim success. */
export function errorEvent(error: GatewayError): Uint8Array<ArrayBuffer> {
  return encodeData(JSON.stringify(errorBody(error)))
}

export function encodeData(data: string): Uint8Array<ArrayBuffer> {
  const lines = data.includes("\n") ? data.replaceAll("\n", "\ndata: ") : data
  return new TextEncoder().encode(`data: ${lines}\n\n`)
}

/** A rejection by a provider keeps the provider's words: clients look for codes such as `context_length_exceeded`. */
export function errorBody(error: GatewayError): OpenAiErrorBody {
  const fault = error.code === "upstream_rejected" ? upstreamFault(error) : undefined
  return {
    error: {
      message: error.message,
      type: fault?.type ?? error.type,
      code: wordIn(fault?.code) ?? error.code,
      param: error.param ?? null,
      ...(error.details !== undefined && { details: error.details }),
    },
  }
}

/** Some providers repeat the status here. */
function wordIn(code: string | undefined): string | undefined {
  return code !== undefined && Number.isNaN(Number(code)) ? code : undefined
}
