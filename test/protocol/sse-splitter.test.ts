import { describe, expect, test } from "bun:test"
import { createParser } from "eventsource-parser"
import fc from "fast-check"
import { dataOf, type SseBlock, SseSplitter } from "../../src/protocol/sse-splitter.ts"

describe("splitting", () => {
  test("hands back the very chunk when it is made of whole events", () => {
    const splitter = new SseSplitter()
    for (const text of ["data: a\n\n", "data: b\n\ndata: c\n\n"]) {
      const chunk = bytesOf(text)
      expect(splitter.push(chunk).bytes).toBe(chunk)
    }
  })

  test("holds back an event until its blank line", () => {
    const splitter = new SseSplitter()
    expect(textOf(splitter.push(bytesOf("data: a\n\ndata: b")))).toBe("data: a\n\n")
    expect(textOf(splitter.push(bytesOf("c\n")))).toBe("")
    expect(textOf(splitter.push(bytesOf("\ndata: d")))).toBe("data: bc\n\n")
    expect(new TextDecoder().decode(splitter.rest())).toBe("data: d")
  })

  test("does not change events it has handed out", () => {
    const splitter = new SseSplitter()
    splitter.push(bytesOf("data: "))
    const { bytes } = splitter.push(bytesOf("a\n\ndata: b"))
    splitter.push(bytesOf("cccc"))
    splitter.push(bytesOf("dddd\n\n"))
    expect(new TextDecoder().decode(bytes)).toBe("data: a\n\n")
  })

  test.each(["\n", "\r\n", "\r"])("finds events whose lines end with %j, however they are cut", (lineEnd) => {
    const stream = [
      "data: grün",
      "",
      ": note",
      "event: x",
      "data: 1",
      "data: 2",
      "",
      "data: 🌍",
      "",
      "",
    ].join(lineEnd)
    for (let size = 1; size < 20; size++) {
      expect(dataIn(stream, size)).toEqual(["grün", "1\n2", "🌍"])
    }
  })

  test("drops a byte order mark at the start and nowhere else", () => {
    const stream = "\uFEFFdata: a\n\ndata: \uFEFFb\n\n"
    for (const size of [1, 2, 4, 100]) expect(dataIn(stream, size)).toEqual(["a", "\uFEFFb"])
  })

  test("finds the events that eventsource-parser finds, in any stream cut anywhere", () => {
    const piece = fc.constantFrom(
      "data",
      "data:",
      "data: ",
      ":",
      " ",
      "x",
      "é",
      "🌍",
      "\n",
      "\r",
      "\r\n",
      "\n\n",
      "id: 1",
      "event: e",
    )
    const cuts = fc.infiniteStream(fc.integer({ min: 1, max: 9 }))
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), cuts, (pieces, sizes) => {
        const stream = bytesOf(`data: first\n\n${pieces.join("")}`)
        const splitter = new SseSplitter()
        const blocks = cut(stream, () => sizes.next().value).map((chunk) => splitter.push(chunk))
        expect(blocks.flatMap(({ events }) => events).flatMap((event) => dataOf(event) ?? [])).toEqual(
          parsed(new TextDecoder().decode(stream)),
        )
        const whole = Buffer.concat([...blocks.map(({ bytes }) => bytes), splitter.rest()])
        expect(whole).toEqual(Buffer.from(stream))
      }),
      { numRuns: 3000 },
    )
  })
})

describe("an event without end", () => {
  const limits = { sender: 'provider "p"', maxEventBytes: 100 }
  const fault = {
    code: "upstream_invalid_reply",
    message: 'provider "p" sent an event of more than 100 bytes',
  }

  test("is refused as soon as it is too long", () => {
    const splitter = new SseSplitter(limits)
    const push = () => splitter.push(bytesOf("data: xxxx"))
    for (let sent = 0; sent < 10; sent++) push()
    expect(push).toThrow(expect.objectContaining(fault))
  })

  test("is refused in one piece too", () => {
    const long = `data: ${"x".repeat(100)}\n\n`
    expect(() => new SseSplitter(limits).push(bytesOf(long))).toThrow(expect.objectContaining(fault))
    expect(() => new SseSplitter(limits).push(bytesOf(`data: 1\n\n${long}`))).toThrow(
      expect.objectContaining(fault),
    )
  })

  test("does not stop many short ones from being longer together", () => {
    const many = "data: 1234567890\n\n".repeat(50)
    expect(textOf(new SseSplitter(limits).push(bytesOf(many)))).toBe(many)
  })
})

describe("data", () => {
  test.each([
    ["data: x\n\n", "x"],
    ["data:x\n\n", "x"],
    ["data:  x \n\n", " x "],
    ["data\n\n", ""],
    ["data:\n\n", ""],
    ["data: a\ndata: b\n\n", "a\nb"],
    ["id: 1\nevent: e\ndata: x\n\n", "x"],
    ["\ndata: x\n\n", "x"],
    ["data: x\r\r", "x"],
    [": comment\n\n", undefined],
    ["datax: 1\n\n", undefined],
    ["event: e\n\n", undefined],
    ["\n", undefined],
  ])("of %j is %p", (event, data) => {
    expect(dataOf(bytesOf(event))).toBe(data)
  })
})

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}

function textOf({ bytes }: SseBlock): string {
  return new TextDecoder().decode(bytes)
}

function dataIn(stream: string, chunkSize: number): readonly string[] {
  const splitter = new SseSplitter()
  return cut(bytesOf(stream), () => chunkSize)
    .flatMap((chunk) => splitter.push(chunk).events)
    .flatMap((event) => dataOf(event) ?? [])
}

function cut(bytes: Uint8Array<ArrayBuffer>, nextSize: () => number): readonly Uint8Array<ArrayBuffer>[] {
  const chunks: Uint8Array<ArrayBuffer>[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + nextSize()
    chunks.push(bytes.slice(at, end))
    at = end
  }
  return chunks
}

function parsed(stream: string): string[] {
  const found: string[] = []
  const parser = createParser({ onEvent: ({ data }) => found.push(data) })
  parser.feed(stream)
  return found
}
