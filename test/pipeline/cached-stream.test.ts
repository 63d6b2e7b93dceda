import { describe, expect, test } from "bun:test"
import { recordStream, replayStream } from "../../src/pipeline/cached-stream.ts"
import { type CacheEntry, MAX_ENTRY_BYTES } from "../../src/protocol/cache-entry.ts"
import type { StreamReply } from "../../src/routing/stream-source.ts"
import { streamedAnswer } from "../support/completions.ts"

const WORDS = Array.from({ length: 500 }, (_, index) => `word ${index} `)
const BODY = new TextEncoder().encode(streamedAnswer("m", WORDS).join(""))

function entryOf(body: Uint8Array<ArrayBuffer>): CacheEntry {
  return { kind: "stream", provider: "up", model: "m", storedAtMs: 0, body }
}

async function readAll({ read }: StreamReply): Promise<readonly Uint8Array[]> {
  const pieces: Uint8Array[] = []
  for (let piece = await read(); piece !== undefined; piece = await read()) pieces.push(piece)
  return pieces
}

describe("a replayed stream", () => {
  test("gives the same bytes in whole events, bit by bit, and is finished at its end", async () => {
    const stream = replayStream(entryOf(BODY))
    expect(stream.watcher.isFinished).toBe(false)
    const pieces = await readAll(stream)
    expect(new Uint8Array(Buffer.concat(pieces))).toEqual(BODY)
    expect(pieces.length).toBeGreaterThan(2)
    for (const piece of pieces) expect(new TextDecoder().decode(piece)).toEndWith("\n\n")
    expect(stream.watcher).toMatchObject({ isFinished: true, dataEvents: WORDS.length + 2 })
    expect(stream.watcher.usage?.total_tokens).toBe(7)
  })

  test("ends when nobody wants the rest", async () => {
    const stream = replayStream(entryOf(BODY))
    await stream.read()
    stream.cancel()
    expect(await stream.read()).toBeUndefined()
  })
})

describe("a recorded stream", () => {
  test("is passed on as it comes, and is all there in the end", async () => {
    const recorder = recordStream(replayStream(entryOf(BODY)))
    const pieces = await readAll(recorder.reply)
    expect(new Uint8Array(Buffer.concat(pieces))).toEqual(BODY)
    expect(recorder.recorded()).toEqual(BODY)
    expect(recorder.reply.watcher.isFinished).toBe(true)
  })

  test("that is too large is passed on, but not kept", async () => {
    const event = `data: {"text":"${"x".repeat(2 ** 20)}"}\n\n`
    const body = new TextEncoder().encode(event.repeat(MAX_ENTRY_BYTES / 2 ** 20))
    const recorder = recordStream(replayStream(entryOf(body)))
    const pieces = await readAll(recorder.reply)
    expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(body.length)
    expect(recorder.recorded()).toBeUndefined()
  })
})
