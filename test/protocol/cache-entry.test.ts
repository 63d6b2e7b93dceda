import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { type CacheEntry, decodeEntry, encodeEntry } from "../../src/protocol/cache-entry.ts"

const ENTRY: CacheEntry = {
  kind: "stream",
  provider: "up",
  model: "m",
  storedAtMs: 1_700_000_000_000,
  body: new TextEncoder().encode("data: 1\n\ndata: [DONE]\n\n"),
}
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const bytes = (content: string) => new TextEncoder().encode(content)
const headOf = (encoded: Uint8Array) => JSON.parse(text(encoded).split("\n", 1)[0] ?? "")

test("an entry comes out as it went in", () => {
  const entry = fc.record({
    kind: fc.constantFrom("plain" as const, "stream" as const),
    provider: fc.string(),
    model: fc.string({ maxLength: 256 }),
    storedAtMs: fc.nat(),
    body: fc.uint8Array({ maxLength: 200 }).map((body) => new Uint8Array(body)),
  })
  fc.assert(fc.property(entry, (kept) => expect(decodeEntry(encodeEntry(kept))).toEqual(kept) === undefined))
})

test("an entry begins with a line of JSON that says what it is", () => {
  const { body, ...about } = ENTRY
  expect(headOf(encodeEntry(ENTRY))).toEqual({ version: 1, ...about, digest: expect.any(String) })
})

test("bytes that other threads may write to are copied", () => {
  const encoded = encodeEntry(ENTRY)
  const shared = new Uint8Array(new SharedArrayBuffer(encoded.byteLength))
  shared.set(encoded)
  const entry = decodeEntry(shared)
  shared.fill(0)
  expect(entry).toEqual(ENTRY)
})

describe("what is no entry is none", () => {
  test.each(["", "\n", "hello", "null\n", "{}\n", "[1]\n", "{\n", "x".repeat(100_000)])("%p", (content) => {
    expect(decodeEntry(bytes(content))).toBeUndefined()
  })

  test.each([
    { version: 2 },
    { kind: "other" },
    { provider: null },
    { model: 1 },
    { storedAtMs: "now" },
    { digest: "0" },
  ])("an entry with %j", (change) => {
    const encoded = encodeEntry(ENTRY)
    const changed = `${JSON.stringify({ ...headOf(encoded), ...change })}\n${text(ENTRY.body)}`
    expect(decodeEntry(bytes(changed))).toBeUndefined()
  })

  test("an entry that was cut anywhere, or had a byte changed in its body", () => {
    const encoded = encodeEntry(ENTRY)
    const bodyStart = encoded.indexOf(0x0a) + 1
    for (let length = 0; length < encoded.length; length++) {
      expect(decodeEntry(encoded.subarray(0, length))).toBeUndefined()
      if (length < bodyStart) continue
      const damaged = encoded.slice()
      damaged[length] = (damaged[length] ?? 0) ^ 1
      expect(decodeEntry(damaged)).toBeUndefined()
    }
  })

  test("bytes that somebody made up", () => {
    fc.assert(fc.property(fc.uint8Array(), (content) => decodeEntry(content) === undefined))
  })
})
