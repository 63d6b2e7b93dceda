/** A provider's stream, whatever it comes as: bytes of a Response, a plugin's chunks, or a whole completion. */
import type { GatewayError } from "../errors.ts"
import type { ChatCompletionChunk } from "../protocol/openai.ts"
import { DONE_EVENT, encodeChunk } from "../protocol/sse.ts"
import { StreamWatcher } from "../protocol/stream-watch.ts"
import { classifyErrorEvent, type UpstreamFault } from "../protocol/upstream-error.ts"
import { type AttemptContext, connectionLost, invalidReply } from "./attempt-context.ts"

/** An SSE stream whose first event is here. It hands out whole events only. */
export interface StreamReply {
  readonly kind: "stream"
  readonly watcher: StreamWatcher
  /** Bytes of whole events, possibly none; undefined at the end. Throws GatewayError when the provider fails. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>
  /** Stops the provider; nobody wants the rest. */
  cancel(): void
}

export interface ByteReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array<ArrayBuffer> | undefined }>
  cancel(reason?: unknown): Promise<void>
}

/** Waits for the first event, so that a failure before it can still be tried elsewhere. */
export async function beginStream(reader: ByteReader, context: AttemptContext): Promise<StreamReply> {
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
  deadline.pause()
  return { kind: "stream", watcher, read, cancel }

  async function read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const first = held.shift()
    if (first !== undefined) return first
    if (watcher.error !== undefined) throw streamError(context, watcher.error)
    deadline.resume()
    const bytes = await next()
    deadline.pause()
    return bytes
  }

  async function next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { done, value } = await readNext()
    if (call.signal.aborted) throw call.signal.reason
    if (!done && value !== undefined) return watcher.feed(value)
    const rest = watcher.end()
    return rest.byteLength > 0 ? rest : undefined
  }

  async function readNext() {
    try {
      return await reader.read()
    } catch (thrown) {
      throw connectionLost(context, thrown)
    }
  }

  function cancel(): void {
    deadline.clear()
    call.signal.removeEventListener("abort", onAbort)
    abort(undefined)
    void reader.cancel().catch(() => {})
  }
}

/** A provider plugin's chunks as bytes. The iterator runs in the plugin's own context. */
export function chunkReader(
  chunks: AsyncIterable<ChatCompletionChunk>,
  { provider, call }: AttemptContext,
): ByteReader {
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

/** Bytes that are all here. */
export function wholeReader(bytes: Uint8Array<ArrayBuffer>): ByteReader {
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

function streamError({ provider, call }: AttemptContext, fault: UpstreamFault): GatewayError {
  return classifyErrorEvent({ provider: provider.name, model: call.model }, fault)
}
