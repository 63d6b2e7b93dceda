/** What a provider may be told to do: answer, refuse, pause, go on for ever. */
import { completion, errorBody, sseEvent, streamedAnswer, textChunk } from "./completions.ts"
import type { Exchange, Script } from "./hostile-upstream.ts"
import { chunked, json, LAST_CHUNK, streamHead } from "./wire.ts"

/** What the hostile upstream says, so that mixed answers of two providers show. */
export const HOSTILE_WORDS = ["grün ", "und ", "weiß ", "🌍 ", "ende"] as const

/** A script that refuses with this status and an OpenAI error body. */
export function refuses(
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body = errorBody(`upstream says ${status}`, "invalid_request_error", `upstream_code_${status}`),
): Script {
  return async ({ write }) => {
    await write(json(status, body, headers))
  }
}

/** Sends the caller elsewhere. */
export function redirectsTo(location: string): Script {
  return async ({ write }) => {
    await write(`HTTP/1.1 307 Temporary Redirect\r\nlocation: ${location}\r\ncontent-length: 0\r\n\r\n`)
  }
}

/** A whole answer of the kind that was asked for. */
export function answers(words: readonly string[] = HOSTILE_WORDS): Script {
  return async ({ write, request }) => {
    if (!wantsStream(request.body)) {
      await write(json(200, JSON.stringify(completion(request.model, words.join("")))))
      return
    }
    await write(streamHead())
    for (const event of streamedAnswer(request.model, words)) await write(chunked(event))
    await write(LAST_CHUNK)
  }
}

/** Sends the first words, waits for `proceed`, and then the rest. */
export function pausesMidway(words: readonly string[] = HOSTILE_WORDS): Script {
  return async ({ write, go, request }) => {
    const [role = "", first = "", ...rest] = streamedAnswer(request.model, words)
    await write(streamHead() + chunked(role) + chunked(first))
    await go()
    for (const event of rest) await write(chunked(event))
    await write(LAST_CHUNK)
  }
}

/** Sends the words one by one. */
export function speaksSlowly(words: readonly string[], pauseMs: number): Script {
  return async ({ write, request }) => {
    await write(streamHead())
    for (const event of streamedAnswer(request.model, words)) {
      await write(chunked(event))
      await Bun.sleep(pauseMs)
    }
    await write(LAST_CHUNK)
  }
}

/** Sends words for as long as somebody takes them. */
export function talksForEver(bytesPerEvent: number): Script {
  return async ({ write, request }) => {
    const event = chunked(sseEvent(textChunk(request.model, "w".repeat(bytesPerEvent))))
    await write(streamHead())
    while (await write(event)) await Bun.sleep(0)
  }
}

/** A plain reply whose JSON string never ends. */
export async function neverEndsItsReply({ write }: Exchange): Promise<void> {
  await write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
  await write(chunked('{"id":"'))
  const part = chunked("x".repeat(64 * 1024))
  while (await write(part)) await Bun.sleep(0)
}

function wantsStream(body: string): boolean {
  return (JSON.parse(body) as { stream?: boolean }).stream === true
}
