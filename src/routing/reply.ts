/** What a provider returned, brought into one of two forms: a whole reply, or a stream that has begun. */
import { GatewayError } from "../errors.ts"
import type { ProviderCall, ProviderReply } from "../plugin/contract.ts"
import { completionEvents } from "../protocol/completion-events.ts"
import type { ChatCompletion, ChatCompletionChunk } from "../protocol/openai.ts"
import { DONE_EVENT, encodeChunk } from "../protocol/sse.ts"
import { StreamWatcher } from "../protocol/stream-watch.ts"
import { classifyErrorEvent, classifyResponse, type UpstreamFault } from "../protocol/upstream-error.ts"
import type { AttemptDeadline } from "./deadline.ts"
import type { RoutedProvider } from "./provider.ts"

export interface PlainReply {
  readonly kind: "plain"
  /** A chat completion as JSON. */
  readonly body: Uint8Array<ArrayBuffer>
}

/** An SSE stream whose first event is here. It hands out whole events only. */
export interface StreamReply {
  readonly kind: "stream"
  readonly watcher: StreamWatcher
  /** Bytes of whole events, or undefined at the end. Throws GatewayError when the provider fails. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>
  /** Stops the provider; nobody wants the rest. */
  cancel(): void
}

export type UpstreamReply = PlainReply | StreamReply

export interface AttemptContext {
  readonly provider: RoutedProvider
  readonly call: ProviderCall
  readonly deadline: AttemptDeadline
  /** Aborts the attempt. */
  readonly abort: (reason: unknown) => void
}

/** A reply nobody could want: larger ones are refused rather than kept in memory. */
const MAX_PLAIN_BYTES = 128 * 2 ** 20
const MAX_ERROR_BYTES = 64 * 2 ** 10

/** @throws GatewayError `upstream_…` */
export async function receive(reply: ProviderReply, context: AttemptContext): Promise<UpstreamReply> {
  const { call } = context
  if (reply instanceof Response) return receiveResponse(reply, context)
  if (isAsyncIterable(reply)) {
    if (!call.stream) throw invalidReply(context, "answered a plain request with a stream of chunks")
    return begin(chunkBytes(reply, context), context)
  }
  if (!isCompletion(reply)) {
    throw invalidReply(context, "returned neither a Response, a chat completion nor an async iterable of chunks")
  }
  if (call.stream) return begin(onePiece(completionEvents(reply)), context)
  return { kind: "plain", body: new TextEncoder().encode(JSON.stringify(reply)) }
}

async function receiveResponse(response: Response, context: AttemptContext): Promise<UpstreamReply> {
  const { provider, call } = context
  if (!response.ok) {
    const body = await readCapped(response, MAX_ERROR_BYTES, context).catch(() => new Uint8Array())
    throw classifyResponse({
      provider: provider.name,
      model: call.model,
      status: response.status,
      headers: response.headers,
      body: new TextDecoder().decode(body),
    })
  }
  const contentType = response.headers.get("content-type") ?? ""
  if (call.stream && contentType.includes("event-stream") && response.body !== null) {
    return begin(response.body.getReader(), context)
  }
  const body = await readCapped(response, MAX_PLAIN_BYTES, context)
  if (!looksLikeObject(body)) {
    throw invalidReply(context, `answered 200 with ${contentType || "no content type"} that is not a JSON object`)
  }
  if (!call.stream) return { kind: "plain", body }
  const completion: unknown = parseJson(body)
  if (!isCompletion(completion)) throw invalidReply(context, "answered a stream request with no stream and no completion")
  return begin(onePiece(completionEvents(completion)), context)
}

interface ByteReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array<ArrayBuffer> | undefined }>
  cancel(reason?: unknown): Promise<void>
}

/** Waits for the first event, so that a failure before it can still be tried elsewhere. */
async function begin(reader: ByteReader, context: AttemptContext): Promise<StreamReply> {
  const { call, deadline, abort } = context
  const watcher = new StreamWatcher({ provider: context.provider.name })
  const held: Uint8Array<ArrayBuffer>[] = []
  const onAbort = () => void reader.cancel(call.signal.reason).catch(() => {})
  call.signal.addEventListener("abort", onAbort, { once: true })

  try {
    while (watcher.dataEvents === 0) {
      const bytes = await next()
      if (bytes === undefined) throw invalidReply(context, "ended its stream before the first event")
      if (bytes.byteLength > 0) held.push(bytes)
    }
    if (watcher.error !== undefined) throw streamError(context, watcher.error)
  } catch (thrown) {
    abort(thrown)
    throw thrown
  }
  deadline.touch()
  return { kind: "stream", watcher, read, cancel }

  async function read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const first = held.shift()
    if (first !== undefined) return first
    if (watcher.error !== undefined) throw streamError(context, watcher.error)
    deadline.resume()
    const bytes = await next()
    deadline.touch()
    deadline.pause()
    return bytes
  }

  /** Whole events, possibly none; undefined at the end. */
  async function next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { done, value } = await reader.read().catch((thrown: unknown) => {
      throw connectionLost(context, thrown)
    })
    if (call.signal.aborted) throw call.signal.reason
    if (done || value === undefined) {
      const rest = watcher.end()
      return rest.byteLength > 0 ? rest : undefined
    }
    return watcher.feed(value)
  }

  function cancel(): void {
    deadline.clear()
    call.signal.removeEventListener("abort", onAbort)
    abort(undefined)
    void reader.cancel().catch(() => {})
  }
}

/** A provider plugin's chunks as bytes. The iterator runs in the plugin's own context. */
function chunkBytes(chunks: AsyncIterable<ChatCompletionChunk>, { provider, call }: AttemptContext): ByteReader {
  const iterator = provider.run(() => chunks[Symbol.asyncIterator]())
  const aborted = Promise.withResolvers<never>()
  aborted.promise.catch(() => {})
  call.signal.addEventListener("abort", () => aborted.reject(call.signal.reason), { once: true })
  let isDone = false
  return {
    async read() {
      if (isDone) return { done: true }
      const result = await Promise.race([provider.run(() => iterator.next()), aborted.promise])
      if (!result.done) return { done: false, value: encodeChunk(result.value) }
      isDone = true
      return { done: false, value: DONE_EVENT }
    },
    async cancel() {
      isDone = true
      await provider.run(() => iterator.return?.())
    },
  }
}

function onePiece(bytes: Uint8Array<ArrayBuffer>): ByteReader {
  let isDone = false
  return {
    async read() {
      if (isDone) return { done: true }
      isDone = true
      return { done: false, value: bytes }
    },
    async cancel() {
      isDone = true
    },
  }
}

async function readCapped(
  response: Response,
  maxBytes: number,
  context: AttemptContext,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const declared = response.headers.get("content-length")
    if (declared !== null && Number(declared) <= maxBytes) return new Uint8Array(await response.arrayBuffer())
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

function connectionLost({ provider, call }: AttemptContext, thrown: unknown): unknown {
  if (call.signal.aborted) return call.signal.reason
  if (thrown instanceof GatewayError) return thrown
  return new GatewayError(
    "upstream_connection_lost",
    `provider "${provider.name}" closed the connection in the middle of its answer`,
    { cause: thrown },
  )
}

function streamError({ provider, call }: AttemptContext, fault: UpstreamFault): GatewayError {
  return classifyErrorEvent({ provider: provider.name, model: call.model }, fault)
}

function invalidReply({ provider }: AttemptContext, what: string): GatewayError {
  return new GatewayError("upstream_invalid_reply", `provider "${provider.name}" ${what}`)
}

function isAsyncIterable(value: unknown): value is AsyncIterable<ChatCompletionChunk> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value
}

function isCompletion(value: unknown): value is ChatCompletion {
  return typeof value === "object" && value !== null && Array.isArray((value as { choices?: unknown }).choices)
}

const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/** A cheap look at both ends: it tells JSON from a proxy's HTML page and from an answer that was cut short. */
function looksLikeObject(bytes: Uint8Array): boolean {
  const start = bytes.findIndex((byte) => !isSpace(byte))
  const end = bytes.findLastIndex((byte) => !isSpace(byte))
  return bytes[start] === OPEN_BRACE && bytes[end] === CLOSE_BRACE
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}
