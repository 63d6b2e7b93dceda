/**
 * What an upstream can do wrong, as scripts. The tables say what a gateway owes its caller: a fault before
 * the first byte may be failed over, one after it may not, and an odd but whole answer must arrive.
 */
import { gzipSync } from "node:zlib"
import { completion, errorBody, sseEvent, streamedAnswer, textChunk } from "./completions.ts"
import type { Script } from "./hostile-upstream.ts"
import { HOSTILE_WORDS } from "./upstream-scripts.ts"
import { chunked, chunkedBytes, json, LAST_CHUNK, sized, streamHead } from "./wire.ts"

const TEN_MEGABYTES = 10 * 1024 * 1024

/** Streamed requests: nothing that a caller could use has been sent when it breaks. */
export const FAULTS_BEFORE_THE_FIRST_EVENT = {
  "resets before the headers": ({ reset }) => reset(),
  "closes before the headers": ({ finish }) => finish(),
  "never answers": ({ gone }) => gone,
  "sends something that is not HTTP": async ({ write, finish }) => {
    await write("SSH-2.0-OpenSSH_9.9\r\n\x00\x01\x02\x03 not for you\r\n\r\n")
    finish()
  },
  "resets after the headers": async ({ write, reset }) => {
    await write(streamHead())
    reset()
  },
  "closes after the headers": async ({ write, finish }) => {
    await write(streamHead())
    finish()
  },
  "stalls after the headers": async ({ write, gone }) => {
    await write(streamHead())
    await gone
  },
  "sends only comments and then nothing": async ({ write, gone }) => {
    await write(streamHead() + chunked(": keep-alive\n\n"))
    await gone
  },
  "sends comments for ever": async ({ write }) => {
    await write(streamHead())
    while (await write(chunked(": keep-alive\n\n"))) await Bun.sleep(20)
  },
  "ends the stream without any event": ({ write }) => write(streamHead() + LAST_CHUNK),
  "sends [DONE] as the only event": ({ write }) =>
    write(streamHead() + chunked("data: [DONE]\n\n") + LAST_CHUNK),
  "sends garbage as the first event": async ({ write, gone }) => {
    await write(streamHead() + chunked('data: {"id": "x", "choi\n\n'))
    await gone
  },
  "sends an error as the first event": ({ write }) =>
    write(streamHead() + chunked(`data: ${errorBody("overloaded")}\n\n`) + LAST_CHUNK),
  "sends HTML with status 200": ({ write }) =>
    write(sized(200, "<!doctype html><h1>Welcome to nginx!</h1>", { "content-type": "text/html" })),
  "sends ten megabytes without a line end": async ({ write, gone }) => {
    await write(streamHead())
    await write(chunked(`data: ${"x".repeat(TEN_MEGABYTES)}`))
    await gone
  },
  "sends a broken chunk size": async ({ write, gone }) => {
    await write(`${streamHead()}zz\r\n${answer("hostile").join("")}\r\n`)
    await gone
  },
} as const satisfies Record<string, Script>

/** Streamed requests: the first words have reached the caller (the test says `proceed`), then it breaks. */
export const FAULTS_AFTER_THE_FIRST_EVENT = {
  "resets between two events": midway(({ reset }) => reset()),
  "resets inside an event": midway(async ({ write, reset }) => {
    await write(chunked(sseEvent(textChunk("hostile", "weiß ")).slice(0, 40)))
    reset()
  }),
  "resets inside a UTF-8 character": midway(async ({ write, reset }) => {
    const event = Buffer.from(sseEvent(textChunk("hostile", "🌍")))
    await write(chunkedBytes(event.subarray(0, event.indexOf(0xf0) + 2)))
    reset()
  }),
  "stalls in the middle": midway(({ gone }) => gone),
  "sends comments for ever in the middle": midway(async ({ write }) => {
    while (await write(chunked(": keep-alive\n\n"))) await Bun.sleep(20)
  }),
  "closes the connection without ending the body": midway(({ finish }) => finish()),
  "ends the body without a finish_reason or [DONE]": midway(({ write }) => write(LAST_CHUNK)),
  "sends a garbage event": midway(async ({ write, gone }) => {
    await write(chunked('data: {"id": "x", "choices": [{"del\n\n'))
    await gone
  }),
  "sends an error event": midway(({ write }) =>
    write(chunked(`data: ${errorBody("out of memory")}\n\n`) + LAST_CHUNK),
  ),
  "sends an error event and [DONE]": midway(({ write }) =>
    write(chunked(`data: ${errorBody("out of memory")}\n\ndata: [DONE]\n\n`) + LAST_CHUNK),
  ),
  "sends ten megabytes without a line end": midway(async ({ write, gone }) => {
    await write(chunked(`data: ${"x".repeat(TEN_MEGABYTES)}`))
    await gone
  }),
  "sends a broken chunk size": midway(async ({ write, gone }) => {
    await write("zz\r\nnonsense\r\n")
    await gone
  }),
} as const satisfies Record<string, Script>

/** Streamed requests that are answered in full, in ways the standards allow or that providers are known for. */
export const ODD_BUT_WHOLE_STREAMS = {
  "sends one byte at a time": async ({ write, request }) => {
    await write(streamHead())
    for (const byte of Buffer.from(answer(request.model).join(""))) await write(chunkedBytes([byte]))
    await write(LAST_CHUNK)
  },
  "ends its lines with CRLF": ({ write, request }) =>
    write(streamHead() + chunked(answer(request.model).join("").replaceAll("\n", "\r\n")) + LAST_CHUNK),
  "leaves out the space after data:": ({ write, request }) =>
    write(streamHead() + chunked(answer(request.model).join("").replaceAll("data: ", "data:")) + LAST_CHUNK),
  "leaves out [DONE] after the finish_reason": ({ write, request }) =>
    write(streamHead() + chunked(answer(request.model).slice(0, -1).join("")) + LAST_CHUNK),
  "sends keep-alive comments before the first event": async ({ write, request }) => {
    await write(streamHead())
    for (let sent = 0; sent < 5; sent++) {
      await write(chunked(": OPENROUTER PROCESSING\n\n"))
      await Bun.sleep(10)
    }
    await write(chunked(answer(request.model).join("")) + LAST_CHUNK)
  },
  "names its events and numbers them": ({ write, request }) =>
    write(
      streamHead() +
        chunked(
          answer(request.model)
            .map((event, index) => `event: message\nid: ${index}\n${event}`)
            .join(""),
        ) +
        LAST_CHUNK,
    ),
  "compresses although nobody asked": async ({ write, request }) => {
    await write(streamHead({ "content-encoding": "gzip" }))
    await write(chunkedBytes(gzipSync(answer(request.model).join(""))))
    await write(LAST_CHUNK)
  },
  "delimits the body by closing the connection": async ({ write, finish, request }) => {
    await write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    await write(answer(request.model).join(""))
    finish()
  },
  "sends everything in one packet": ({ write, request }) =>
    write(streamHead() + chunked(answer(request.model).join("")) + LAST_CHUNK),
} as const satisfies Record<string, Script>

/** Streamed requests that a gateway may use or refuse; what counts is that the caller gets one whole answer. */
export const DEBATABLE_STREAMS = {
  "sends headers of a megabyte": async ({ write, request }) => {
    await write(streamHead({ "x-padding": "p".repeat(1024 * 1024) }))
    await write(chunked(answer(request.model).join("")) + LAST_CHUNK)
  },
  "answers a stream request with plain JSON": ({ write, request }) =>
    write(json(200, wholeReply(request.model))),
} as const satisfies Record<string, Script>

/** Plain requests that get no usable answer. */
export const PLAIN_FAULTS = {
  "resets before the headers": ({ reset }) => reset(),
  "closes before the headers": ({ finish }) => finish(),
  "never answers": ({ gone }) => gone,
  "stalls after the headers": async ({ write, gone }) => {
    await write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n")
    await gone
  },
  "sends less than its content-length": async ({ write, finish, request }) => {
    const body = JSON.stringify(completion(request.model, "kurz"))
    await write(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n${body}`)
    finish()
  },
  "sends half of a JSON document": ({ write, request }) =>
    write(json(200, JSON.stringify(completion(request.model, "halb")).slice(0, 60))),
  "sends JSON that is no completion": ({ write }) => write(json(200, "[]")),
  "sends an empty body": ({ write }) => write(json(200, "")),
  "sends an error body with status 200": ({ write }) => write(json(200, errorBody("overloaded"))),
  "sends HTML with status 200": ({ write }) =>
    write(sized(200, "<!doctype html><h1>Welcome to nginx!</h1>", { "content-type": "text/html" })),
  "sends something that is not HTTP": async ({ write, finish }) => {
    await write("220 mail.example.com ESMTP\r\n")
    finish()
  },
  "answers 204": ({ write }) => write("HTTP/1.1 204 No Content\r\n\r\n"),
} as const satisfies Record<string, Script>

/** Plain requests that are answered in full, oddly. */
export const ODD_BUT_WHOLE_REPLIES = {
  "sends one byte at a time": async ({ write, request }) => {
    const body = Buffer.from(wholeReply(request.model))
    await write(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`)
    for (const byte of body) await write(new Uint8Array([byte]))
  },
  "compresses although nobody asked": async ({ write, request }) => {
    const body = gzipSync(wholeReply(request.model))
    await write(
      `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: ${body.length}\r\n\r\n`,
    )
    await write(body)
  },
  "sends the body in chunks": ({ write, request }) =>
    write(
      `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n${chunked(wholeReply(request.model))}${LAST_CHUNK}`,
    ),
  "calls its JSON text": ({ write, request }) =>
    write(sized(200, wholeReply(request.model), { "content-type": "text/plain" })),
  "delimits the body by closing the connection": async ({ write, finish, request }) => {
    await write(
      `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n${wholeReply(request.model)}`,
    )
    finish()
  },
} as const satisfies Record<string, Script>

/** The first words of an answer, then a pause until the caller has them, then `rest`. */
function midway(rest: Script): Script {
  return async function breakMidway(exchange) {
    const [role = "", first = ""] = answer(exchange.request.model)
    await exchange.write(streamHead() + chunked(role) + chunked(first))
    await exchange.go()
    await rest(exchange)
  }
}

function answer(model: string): string[] {
  return streamedAnswer(model, HOSTILE_WORDS)
}

function wholeReply(model: string): string {
  return JSON.stringify(completion(model, HOSTILE_WORDS.join("")))
}
