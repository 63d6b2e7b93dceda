/** An LLM provider on 127.0.0.1 that says what the test tells it to say. */
import type { ChatCompletion, ChatCompletionChunk, ChatRequest, Usage } from "../protocol/openai.ts"

/** Text, the object of a whole reply, or a `Response` to send as it is. */
export type UpstreamReply = string | object | Response

/**
 * Replies are taken in order, and the last one stays; a new one takes the place of one that was sent already. With
 * none, the upstream says "hello".
 */
export interface FakeUpstream {
  readonly url: string
  /** What it received, oldest first. */
  readonly requests: readonly UpstreamRequest[]
  /** Answers with this; text is streamed in one piece where a stream is asked for. */
  reply(reply: UpstreamReply): void
  /** Answers with these pieces of text: a chunk each where a stream is asked for, and together otherwise. */
  stream(pieces: readonly string[]): void
  /** Refuses with this status and an error body. */
  fail(status: number, message?: string): void
}

export interface UpstreamRequest {
  readonly method: string
  readonly path: string
  readonly headers: Headers
  /** The body as JSON. */
  readonly body: ChatRequest
}

type Script = (request: UpstreamRequest) => Response

export interface StartedUpstream extends FakeUpstream {
  stop(): Promise<void>
}

export function startFakeUpstream(): StartedUpstream {
  const requests: UpstreamRequest[] = []
  const scripts: { readonly script: Script; wasUsed: boolean }[] = []
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer, idleTimeout: 0 })

  return {
    url: `http://127.0.0.1:${server.port}/v1`,
    requests,
    reply: (reply) => push(scriptOf(reply)),
    stream: (pieces) => push((request) => spoken(request, pieces)),
    fail: (status, message = `the test has the upstream fail with ${status}`) =>
      push(() => refusal(status, message)),
    stop: () => server.stop(true),
  }

  function push(script: Script): void {
    if (scripts[0]?.wasUsed) scripts.shift()
    scripts.push({ script, wasUsed: false })
  }

  async function answer(request: Request): Promise<Response> {
    const text = await request.text()
    const received: UpstreamRequest = {
      method: request.method,
      path: new URL(request.url).pathname,
      headers: request.headers,
      body: JSON.parse(text === "" ? "{}" : text) as ChatRequest,
    }
    requests.push(received)
    if (scripts.length > 1 && scripts[0]?.wasUsed) scripts.shift()
    const [next] = scripts
    if (next === undefined) return spoken(received, ["hello"])
    next.wasUsed = true
    return next.script(received)
  }
}

function scriptOf(reply: UpstreamReply): Script {
  if (typeof reply === "string") return (request) => spoken(request, [reply])
  if (reply instanceof Response) return () => reply.clone() as Response
  return () => Response.json(reply)
}

const USAGE: Usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }
/** A fixed time, so that equal replies are equal. */
const CREATED = 1_700_000_000

function spoken({ path, body }: UpstreamRequest, pieces: readonly string[]): Response {
  if (path.endsWith("/embeddings")) return Response.json(embedding(body.model))
  if (body.stream !== true) return Response.json(completion(body.model, pieces.join("")))
  const events = [...chunks(body.model, pieces).map((chunk) => JSON.stringify(chunk)), "[DONE]"]
  return new Response(events.map((event) => `data: ${event}\n\n`).join(""), {
    headers: { "content-type": "text/event-stream" },
  })
}

function completion(model: string, text: string): ChatCompletion {
  return {
    id: "chatcmpl-test",
    object: "chat.completion",
    created: CREATED,
    model,
    choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
    usage: USAGE,
  }
}

function chunks(model: string, pieces: readonly string[]): readonly ChatCompletionChunk[] {
  const base = { id: "chatcmpl-test", object: "chat.completion.chunk", created: CREATED, model } as const
  const spokenPieces = pieces.map((content) => ({
    ...base,
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
  }))
  return [
    ...spokenPieces,
    { ...base, choices: [{ index: 0, delta: {}, finish_reason: "stop" }], usage: USAGE },
  ]
}

function embedding(model: string): object {
  const usage = { prompt_tokens: 3, total_tokens: 3 }
  return {
    object: "list",
    data: [{ object: "embedding", index: 0, embedding: [0.25, -0.5, 0.75] }],
    model,
    usage,
  }
}

function refusal(status: number, message: string): Response {
  const error = { message, type: "test_error", code: null, param: null }
  return Response.json({ error }, { status })
}
