/** Requests for embeddings with nothing but fetch, and what an upstream answers to them. */
import type { EmbeddingRequest, EmbeddingResponse } from "../../src/protocol/openai.ts"

interface EmbedOptions extends Partial<EmbeddingRequest> {
  readonly model: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** No test waits longer for a reply than this. */
const PATIENCE_MS = 15_000

export function postEmbeddings(url: string, options: EmbedOptions): Promise<Response> {
  const { headers, signal, ...fields } = options
  return fetch(`${url}/v1/embeddings`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ input: "hello", ...fields }),
    signal: signal ?? AbortSignal.timeout(PATIENCE_MS),
  })
}

export function embeddings(model: string, ...vectors: (number[] | string)[]): EmbeddingResponse {
  return {
    object: "list",
    data: vectors.map((embedding, index) => ({ object: "embedding", index, embedding })),
    model,
    usage: { prompt_tokens: 5, total_tokens: 5 },
  }
}
