/**
 * The stream engine: a provider's events on their way to the client. Bytes are passed on as they come where no
 * plugin looks. A stream that fails after its first byte ends with the protocol's error event, never cleanly.
 */
import { GatewayError, toGatewayError } from "../errors.ts"
import type { StreamOutcome } from "../plugin/contract.ts"
import { errorEvent } from "../protocol/sse.ts"
import type { StreamReply } from "../routing/stream-source.ts"
import type { Call } from "./call.ts"
import { ChunkHooks } from "./chunk-hooks.ts"
import { settleStream } from "./settle.ts"

export interface BegunStream {
  readonly reply: StreamReply
  /** How long the provider took until the stream had begun; none where it comes from a cache. */
  readonly latencyMs: number | undefined
  /** Stops the clocks of the attempt. */
  readonly release: () => void
}

/** @param onEnd is called once, when nothing more will be sent. */
export function streamToClient(
  call: Call,
  { reply, latencyMs, release }: BegunStream,
  onEnd: (outcome: StreamOutcome) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const { signal } = call.input
  const { watcher } = reply
  const hooks = ChunkHooks.isWanted(call) ? new ChunkHooks(call) : undefined
  let sizeBytes = 0
  let isOver = false
  call.deps.metrics.activeStreams.add(1)
  signal.addEventListener("abort", onLeave, { once: true })

  // A stream of its own size zero: nothing is read from the provider before the client can take it.
  return new ReadableStream({ pull, cancel: onLeave }, { highWaterMark: 0 })

  async function pull(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    try {
      const bytes = await nextBytes()
      if (isOver) return
      if (bytes !== undefined) return send(controller, bytes)
      if (!watcher.isFinished) throw cutShort(call)
      await sendHeldText(controller)
      if (isOver) return
      end("complete")
    } catch (thrown) {
      // Text that was let through before the failure is still on its way; where its own hook fails, it stays here.
      await sendHeldText(controller).catch(() => {})
      if (isOver) return
      const error = toGatewayError(thrown)
      send(controller, errorEvent(error))
      end(error.code.startsWith("upstream_") ? "upstream_failed" : "rejected", error)
    }
    controller.close()
  }

  /** Bytes worth sending: a chunk whose events were all held back or dropped is passed over. */
  async function nextBytes(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    for (;;) {
      hooks?.throwIfEnded()
      const bytes = await readOn()
      if (bytes === undefined) return undefined
      const sent = hooks === undefined ? bytes : await hooks.rewrite(bytes)
      if (sent.byteLength > 0) return sent
    }
  }

  /** Once the answer is whole, how its connection ends is of no interest to the client. */
  async function readOn(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      return await reply.read()
    } catch (thrown) {
      if (watcher.isFinished && !signal.aborted) return undefined
      throw thrown
    }
  }

  async function sendHeldText(
    controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>,
  ): Promise<void> {
    const held = await hooks?.end()
    if (held !== undefined && held.byteLength > 0 && !isOver) send(controller, held)
  }

  function send(
    controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>,
    bytes: Uint8Array<ArrayBuffer>,
  ): void {
    sizeBytes += bytes.byteLength
    controller.enqueue(bytes)
  }

  function onLeave(): void {
    end("client_closed")
  }

  function end(outcome: StreamOutcome, error?: GatewayError): void {
    if (isOver) return
    isOver = true
    signal.removeEventListener("abort", onLeave)
    release()
    reply.cancel()
    const { dataEvents: events, usage } = watcher
    settleStream(call, { outcome, events, sizeBytes, firstTokenMs: latencyMs, usage, error })
    onEnd(outcome)
  }
}

function cutShort(call: Call): GatewayError {
  return new GatewayError(
    "upstream_connection_lost",
    `provider "${call.answeredBy}" ended its stream before the answer was complete`,
  )
}
