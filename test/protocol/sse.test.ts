import { expect, test } from "bun:test"
import { createParser } from "eventsource-parser"
import { GatewayError } from "../../src/errors.ts"
import type { ChatCompletionChunk } from "../../src/protocol/openai.ts"
import {
  DONE_EVENT,
  encodeChunk,
  encodeData,
  errorBody,
  errorEvent,
  eventData,
} from "../../src/protocol/sse.ts"
import { classifyResponse } from "../../src/protocol/upstream-error.ts"

const CHUNK: ChatCompletionChunk = {
  id: "1",
  object: "chat.completion.chunk",
  created: 1,
  model: "m",
  choices: [{ index: 0, delta: { content: "grün\n\n🌍" } }],
}

test("chunks, errors and [DONE] are events that a standard parser reads", () => {
  const error = new GatewayError("upstream_timeout", "too slow")
  const stream = Buffer.concat([encodeChunk(CHUNK), errorEvent(error), DONE_EVENT]).toString()
  const found: string[] = []
  createParser({ onEvent: ({ data }) => found.push(data) }).feed(stream)
  expect(found).toEqual([JSON.stringify(CHUNK), JSON.stringify(errorBody(error)), "[DONE]"])
})

test("the data of whole events comes out again, comments left out", () => {
  const bytes = new Uint8Array(Buffer.concat([encodeChunk(CHUNK), Buffer.from(": ping\n\n"), DONE_EVENT]))
  expect(eventData(bytes)).toEqual([JSON.stringify(CHUNK), "[DONE]"])
})

test("data of several lines stays one event", () => {
  expect(eventData(encodeData("a\nb\n\nc"))).toEqual(["a\nb\n\nc"])
})

test("an error body has the fields that OpenAI's clients read", () => {
  expect(errorBody(new GatewayError("invalid_request", '"n" is bad', { param: "n" }))).toEqual({
    error: { message: '"n" is bad', type: "invalid_request_error", code: "invalid_request", param: "n" },
  })
  expect(errorBody(new GatewayError("internal_error", "oh", { details: { a: 1 } }))).toEqual({
    error: { message: "oh", type: "server_error", code: "internal_error", param: null, details: { a: 1 } },
  })
})

test("a provider's rejection keeps the provider's type, code and param", () => {
  const error = {
    message: "too long",
    type: "bad_request",
    code: "context_length_exceeded",
    param: "messages",
  }
  expect(errorBody(rejection(error)).error).toMatchObject({
    message: 'provider "p" rejected the request for "m": too long',
    type: "bad_request",
    code: "context_length_exceeded",
    param: "messages",
  })
})

test("a provider's code that only repeats the status is left out", () => {
  expect(errorBody(rejection({ message: "no", type: "BadRequestError", code: 400 })).error.code).toBe(
    "upstream_rejected",
  )
})

function rejection(error: object): GatewayError {
  const body = JSON.stringify({ error })
  return classifyResponse({ provider: "p", model: "m", status: 400, headers: new Headers(), body })
}
