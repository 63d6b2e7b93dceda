import { describe, expect, test } from "bun:test"
import { StreamWatcher } from "../../src/protocol/stream-watch.ts"

const USAGE = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }
const DONE = "data: [DONE]\n\n"
const TEXT = event({
  id: "1",
  choices: [{ index: 0, delta: { content: "hi" }, finish_reason: null }],
  usage: null,
})
const FINISH = event({ id: "1", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })

describe("an answer is whole", () => {
  test.each([
    ["with [DONE]", TEXT + DONE, true],
    ["with a finish_reason alone", TEXT + FINISH, true],
    [
      "with a finish_reason in a later choice",
      TEXT + event({ choices: [choice(null), choice("stop")] }),
      true,
    ],
    ["with spaces after colons", `${TEXT}data: {"choices": [{"finish_reason" : "length"}]}\n\n`, true],
    ["not with text only", TEXT + TEXT, false],
    ["not with an empty finish_reason", TEXT + event({ choices: [choice("")] }), false],
    ["not where the text speaks of it", TEXT + textEvent('"finish_reason":"stop" data: [DONE]'), false],
    ["not with a [DONE] that is still to come", `${TEXT}data: [DO`, false],
    ["not with comments", ": [DONE]\n\n", false],
  ])("%s", (_, stream, isFinished) => {
    expect(watch(stream).watcher.isFinished).toBe(isFinished)
  })
})

describe("usage", () => {
  test("is the last one of the stream", () => {
    const partial = { ...USAGE, completion_tokens: 1, total_tokens: 4 }
    const { watcher } = watch(
      TEXT + event({ choices: [], usage: partial }) + event({ choices: [], usage: USAGE }) + DONE,
    )
    expect(watcher.usage).toEqual(USAGE)
  })

  test("is found where Groq puts it", () => {
    expect(watch(TEXT + event({ choices: [], x_groq: { usage: USAGE } })).watcher.usage).toEqual(USAGE)
  })

  test("is not what the text says", () => {
    expect(
      watch(TEXT + textEvent('"usage":{"prompt_tokens":9,"completion_tokens":9}')).watcher.usage,
    ).toBeUndefined()
  })

  test("is undefined where the provider does not say", () => {
    expect(watch(TEXT + FINISH + DONE).watcher.usage).toBeUndefined()
  })
})

describe("an error event", () => {
  const error = { message: "overloaded", type: "server_error", code: 529 }
  const fault = { message: "overloaded", type: "server_error", code: "529" }

  test.each([
    ["alone", event({ error })],
    ["after other fields", event({ id: "1", choices: [], error })],
    ["with spaces", `data: { "error" : ${JSON.stringify(error)} }\n\n`],
    ["with an event name", `event: error\n${event({ error })}`],
    ["without a space after data:", event({ error }).replace("data: ", "data:")],
  ])("%s is seen, first or later", (_, failed) => {
    expect(watch(failed).watcher).toMatchObject({ error: fault, dataEvents: 1, isFinished: false })
    expect(watch(TEXT + failed).watcher).toMatchObject({ error: fault, dataEvents: 2, isFinished: false })
  })

  test("as a string is seen", () => {
    expect(watch(TEXT + event({ error: "out of memory" })).watcher.error).toEqual({
      message: "out of memory",
    })
  })

  test("is not passed on, and neither is what follows it", () => {
    const { watcher, sent } = watch(TEXT + TEXT + event({ error }) + DONE)
    expect(sent).toBe(TEXT + TEXT)
    expect(watcher.isFinished).toBe(false)
    expect(watcher.feed(bytesOf(DONE)).length).toBe(0)
    expect(watcher.end().length).toBe(0)
  })

  test("is not a null error, nor a text about errors", () => {
    const { watcher, sent } = watch(
      TEXT + event({ error: null, choices: [] }) + textEvent('{"error":{"message":"x"}}'),
    )
    expect(watcher.error).toBeUndefined()
    expect(sent.split("\n\n")).toHaveLength(4)
  })
})

describe("bytes", () => {
  test("pass untouched where a chunk is made of whole events", () => {
    const watcher = new StreamWatcher()
    for (const text of [TEXT, `: ping\n\n${TEXT}${FINISH}`]) {
      const chunk = bytesOf(text)
      expect(watcher.feed(chunk)).toBe(chunk)
    }
  })

  test.each([1, 7, 64, 1000])("arrive the same in chunks of %d, and always as whole events", (size) => {
    const stream = `: ping\n\n${TEXT}${TEXT}${textEvent("grün 🌍")}${FINISH}${DONE}`
    const watcher = new StreamWatcher()
    const sent: string[] = []
    for (let at = 0; at < bytesOf(stream).length; at += size) {
      sent.push(textOf(watcher.feed(bytesOf(stream).slice(at, at + size))))
    }
    expect(sent.join("")).toBe(stream)
    for (const part of sent) if (part !== "") expect(part).toEndWith("\n\n")
    expect(watcher).toMatchObject({ dataEvents: 4, isFinished: true })
  })

  test("after [DONE] are not passed on", () => {
    expect(watch(TEXT + DONE + TEXT + event({ error: "late" }))).toMatchObject({
      sent: TEXT + DONE,
      watcher: { isFinished: true },
    })
  })
})

describe("the end", () => {
  test.each(["data: [DONE]", "data: [DONE]\n", FINISH.trimEnd()])(
    "completes a whole last event: %p",
    (last) => {
      const { watcher } = watch(TEXT + last)
      expect(textOf(watcher.end())).toStartWith(`${last.trimEnd()}\n\n`)
      expect(watcher.isFinished).toBe(true)
    },
  )

  test.each(['data: {"id":"1","cho', "data: [DO", ": ping", "\n", ""])(
    "drops a broken last event: %p",
    (last) => {
      const { watcher } = watch(TEXT + last)
      expect(watcher.end().length).toBe(0)
      expect(watcher.isFinished).toBe(false)
    },
  )

  test("sees a last error without its blank line", () => {
    const { watcher } = watch(TEXT + event({ error: "late" }).trimEnd())
    expect(watcher.end().length).toBe(0)
    expect(watcher.error).toEqual({ message: "late" })
  })
})

describe("a stream that is none", () => {
  test.each(["data: hello\n\n", 'data: {"id": "x", "choi\n\n', "data: [1]\n\n", "data:\n\n"])(
    "begins with %p",
    (first) => {
      expect(() => new StreamWatcher({ provider: "p" }).feed(bytesOf(first))).toThrow(
        expect.objectContaining({
          code: "upstream_invalid_reply",
          message: 'provider "p" began its stream with an event that is not a JSON object',
        }),
      )
    },
  )

  test("never ends its event", () => {
    const watcher = new StreamWatcher({ provider: "p", maxEventBytes: 1000 })
    expect(() => watcher.feed(bytesOf(`data: ${"x".repeat(1000)}`))).toThrow(
      'provider "p" sent an event of more than 1000 bytes',
    )
  })

  test("is one with [DONE] as its only event, but no event with data", () => {
    expect(watch(DONE).watcher).toMatchObject({ dataEvents: 0, isFinished: true })
  })
})

function watch(stream: string): { readonly watcher: StreamWatcher; readonly sent: string } {
  const watcher = new StreamWatcher()
  return { watcher, sent: textOf(watcher.feed(bytesOf(stream))) }
}

function event(chunk: object): string {
  return `data: ${JSON.stringify(chunk)}\n\n`
}

function textEvent(content: string): string {
  return event({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })
}

function choice(finishReason: string | null): object {
  return { index: 0, delta: {}, finish_reason: finishReason }
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
