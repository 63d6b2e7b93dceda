/** What a provider returned, brought into one of two forms: a whole reply, or a stream that has begun. */
import type { Awaitable, EmbedCall, ProviderCall } from "../plugin/contract.ts"
import { completionEvents } from "../protocol/completion-events.ts"
import { encodedAs, hasData } from "../protocol/embedding-reply.ts"
import { type ChatCompletion, type ChatCompletionChunk, hasChoices } from "../protocol/openai.ts"
import { classifyErrorEvent, classifyResponse, readFault } from "../protocol/upstream-error.ts"
import { type AttemptContext, connectionLost, invalidReply } from "./attempt-context.ts"
import { beginStream, chunkReader, type StreamReply, wholeReader } from "./stream-source.ts"

interface PlainReply {
  readonly kind: "plain"
  /** A chat completion or a list of embeddings, as JSON. */
  readonly body: Uint8Array<ArrayBuffer>
}

export type UpstreamReply = PlainReply | StreamReply

/** A reply nobody could want: larger ones are refused rather than kept in memory. */
const MAX_PLAIN_BYTES = 128 * 2 ** 20
const MAX_ERROR_BYTES = 64 * 2 ** 10

/** @throws GatewayError `upstream_…` */
export function receive(reply: unknown, context: AttemptContext<ProviderCall>): Awaitable<UpstreamReply> {
  const { call } = context
  if (reply instanceof Response) return receiveResponse(reply, context)
  if (isAsyncIterable(reply)) {
    if (!call.stream) throw invalidReply(context, "answered a plain request with a stream of chunks")
    return beginStream(chunkReader(reply, context), context)
  }
  if (!isCompletion(reply)) {
    throw invalidReply(context, "returned neither a Response, a completion nor an async iterable of chunks")
  }
  if (call.stream) return beginStream(wholeReader(completionEvents(reply)), context)
  return { kind: "plain", body: new TextEncoder().encode(JSON.stringify(reply)) }
}

/** @throws GatewayError `upstream_…` */
export async function receiveEmbeddings(
  reply: unknown,
  context: AttemptContext<EmbedCall>,
): Promise<UpstreamReply> {
  if (reply instanceof Response) {
    if (!reply.ok) throw await refusal(reply, context)
    const body = await readWhole(reply, MAX_PLAIN_BYTES, context)
    if (!looksLike(body, DATA)) throw notAsked(body, context, "a list of embeddings")
    return { kind: "plain", body }
  }
  const encoded = hasData(reply) ? encodedAs(reply, context.call.request.encoding_format) : undefined
  if (encoded === undefined) {
    throw invalidReply(context, "returned neither a Response nor embeddings with numbers or base64 in each")
  }
  return { kind: "plain", body: new TextEncoder().encode(JSON.stringify(encoded)) }
}

async function receiveResponse(
  response: Response,
  context: AttemptContext<ProviderCall>,
): Promise<UpstreamReply> {
  const { call } = context
  if (!response.ok) throw await refusal(response, context)
  if (
    call.stream &&
    response.headers.get("content-type")?.includes("event-stream") &&
    response.body !== null
  ) {
    return beginStream(response.body.getReader(), context)
  }
  const body = await readWhole(response, MAX_PLAIN_BYTES, context)
  if (!looksLike(body, CHOICES)) throw notAsked(body, context, A_COMPLETION)
  if (!call.stream) return { kind: "plain", body }
  const completion = parseJson(body)
  if (!isCompletion(completion)) throw notAsked(body, context, A_COMPLETION)
  return beginStream(wholeReader(completionEvents(completion)), context)
}

async function refusal(response: Response, context: AttemptContext): Promise<unknown> {
  const { provider, call } = context
  const body = await readWhole(response, MAX_ERROR_BYTES, context).catch(() => new Uint8Array())
  if (call.signal.aborted) return call.signal.reason
  return classifyResponse({
    provider: provider.name,
    model: call.model,
    status: response.status,
    headers: response.headers,
    body: new TextDecoder().decode(body),
  })
}

/** A reply with status 200 that is not what was asked for: some providers send their errors so. */
function notAsked(body: Uint8Array, context: AttemptContext, wanted: string): unknown {
  const { provider, call } = context
  const parsed = parseJson(body)
  if (typeof parsed === "object" && parsed !== null && "error" in parsed) {
    return classifyErrorEvent({ provider: provider.name, model: call.model }, readFault(parsed))
  }
  return invalidReply(context, `answered with status 200 and something that is not ${wanted}`)
}

async function readWhole(
  response: Response,
  maxBytes: number,
  context: AttemptContext,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const declared = response.headers.get("content-length")
    // After decompression the body may be larger than declared.
    const isBounded =
      declared !== null && Number(declared) <= maxBytes && !response.headers.has("content-encoding")
    if (isBounded) return new Uint8Array(await response.arrayBuffer())
    return await readUpTo(response, maxBytes, context)
  } catch (thrown) {
    throw connectionLost(context, thrown)
  }
}

async function readUpTo(
  response: Response,
  maxBytes: number,
  context: AttemptContext,
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = []
  let sizeBytes = 0
  for await (const piece of response.body ?? []) {
    pieces.push(piece)
    sizeBytes += piece.byteLength
    if (sizeBytes > maxBytes) throw invalidReply(context, `sent more than ${maxBytes} bytes`)
  }
  return new Uint8Array(Buffer.concat(pieces))
}

function isAsyncIterable(value: unknown): value is AsyncIterable<ChatCompletionChunk> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value
}

function isCompletion(value: unknown): value is ChatCompletion {
  return hasChoices(value)
}

const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const CHOICES = Buffer.from('"choices"')
const DATA = Buffer.from('"data"')
const A_COMPLETION = "a chat completion"

/**
 * Both ends and one key: this tells an answer from an error, an HTML page, and an answer that was cut short,
 * without parsing it. Inside a string the quotes of the key would be escaped.
 */
function looksLike(body: Uint8Array, key: Buffer): boolean {
  let start = 0
  let end = body.length - 1
  while (isSpace(body[start])) start++
  while (isSpace(body[end])) end--
  if (body[start] !== OPEN_BRACE || body[end] !== CLOSE_BRACE) return false
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes(key)
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}
