/** Streamed replies on their way into a cache and out of it. */
import { type CacheEntry, MAX_ENTRY_BYTES } from "../protocol/cache-entry.ts"
import { StreamWatcher } from "../protocol/stream-watch.ts"
import type { StreamReply } from "../routing/stream-source.ts"

/** A stream that keeps what is read from it. */
export interface RecordedStream {
  readonly reply: StreamReply
  /** All bytes that were read; undefined where they were too many. */
  recorded(): Uint8Array<ArrayBuffer> | undefined
}

export function recordStream(reply: StreamReply): RecordedStream {
  let pieces: Uint8Array[] = []
  let sizeBytes = 0
  return {
    reply: {
      ...reply,
      async read() {
        const bytes = await reply.read()
        if (bytes !== undefined) keep(bytes)
        return bytes
      },
    },
    recorded: () => (sizeBytes > MAX_ENTRY_BYTES ? undefined : new Uint8Array(Buffer.concat(pieces))),
  }

  function keep(bytes: Uint8Array): void {
    sizeBytes += bytes.byteLength
    if (sizeBytes <= MAX_ENTRY_BYTES) pieces.push(bytes)
    else pieces = []
  }
}

/** The client sets the pace: no more than this is parsed and changed before it takes some. */
const PIECE_BYTES = 16 * 2 ** 10

export function replayStream({ body, provider }: CacheEntry): StreamReply {
  const watcher = new StreamWatcher({ provider })
  let at = 0
  return {
    kind: "stream",
    watcher,
    async read() {
      if (at >= body.byteLength) return undefined
      const piece = body.subarray(at, at + PIECE_BYTES)
      at += PIECE_BYTES
      return watcher.feed(piece)
    },
    cancel() {
      at = body.byteLength
    },
  }
}
