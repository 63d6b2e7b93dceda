/** Chat requests with nothing but fetch. */
import type { ChatCompletion, ChatRequest, OpenAiErrorBody } from "../../src/protocol/openai.ts"

interface ChatOptions extends Partial<ChatRequest> {
  readonly model: string
  readonly prompt?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** No test waits longer for a reply than this. */
const PATIENCE_MS = 15_000

export function postChat(url: string, options: ChatOptions): Promise<Response> {
  const { prompt = "hello", headers, signal, ...fields } = options
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ messages: [{ role: "user", content: prompt }], ...fields }),
    signal: signal ?? AbortSignal.timeout(PATIENCE_MS),
  })
}

/** The text of a plain answer; fails with the body where there is none. */
export async function askPlain(url: string, model: string): Promise<string> {
  const response = await postChat(url, { model })
  const body = await response.text()
  if (response.status !== 200) throw new Error(`expected an answer, got ${response.status} ${body}`)
  return String((JSON.parse(body) as ChatCompletion).choices[0]?.message.content)
}

export async function errorOf(response: Response): Promise<OpenAiErrorBody["error"]> {
  return ((await response.json()) as OpenAiErrorBody).error
}
