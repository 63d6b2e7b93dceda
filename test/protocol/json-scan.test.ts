import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { expectKeys, type JsonKind, MAX_DEPTH, readString, scanJson } from "../../src/protocol/json-scan.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const bytesOf = (text: string) => encoder.encode(text)

describe("agreement with JSON.parse", () => {
  test("on JSON of any shape", () => {
    fc.assert(
      fc.property(fc.json(), fc.integer({ min: 0, max: 4 }), (text, indent) => {
        expectAgreement(bytesOf(text))
        expectAgreement(bytesOf(JSON.stringify(JSON.parse(text), null, indent)))
      }),
    )
  })

  test("on JSON that was changed, cut or grown at any byte", () => {
    const edit = fc.record({
      at: fc.nat(),
      remove: fc.integer({ min: 0, max: 3 }),
      insert: fc.oneof(fc.uint8Array({ maxLength: 3 }), fc.constantFrom(...NASTY_PIECES).map(bytesOf)),
    })
    fc.assert(
      fc.property(fc.json(), fc.array(edit, { minLength: 1, maxLength: 3 }), (text, edits) => {
        expectAgreement(edits.reduce(applyEdit, bytesOf(text)))
      }),
      { numRuns: 3000 },
    )
  })

  test("on soups of JSON's own pieces", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...NASTY_PIECES), { maxLength: 14 }), (pieces) => {
        expectAgreement(bytesOf(pieces.join("")))
      }),
      { numRuns: 5000 },
    )
  })

  test("on objects whose keys repeat", () => {
    const member = fc.tuple(fc.constantFrom(...NASTY_KEYS), fc.json())
    fc.assert(
      fc.property(fc.array(member, { maxLength: 6 }), (members) => {
        expectAgreement(bytesOf(`{${members.map(([key, value]) => `${key}:${value}`).join(",")}}`))
      }),
      { numRuns: 2000 },
    )
  })

  test("on arbitrary bytes inside a string", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (inside) => {
        expectAgreement(Buffer.concat([bytesOf('{"a":"'), inside, bytesOf('"}')]))
        expectAgreement(Buffer.concat([bytesOf('{"'), inside, bytesOf('":1}')]))
      }),
      { numRuns: 3000 },
    )
  })

  test("on one byte of every value at every place of a request", () => {
    const request = bytesOf('{"model":"m","n":-1.5e+2,"a":[true,null,"\\u00e9\\n"]}')
    for (let at = 0; at < request.length; at++) {
      for (let byte = 0; byte < 256; byte++) expectAgreement(request.with(at, byte))
    }
  })

  test.each(NASTY_CASES())("on %j", (text) => {
    expectAgreement(bytesOf(text))
  })

  test("on bytes that are not UTF-8", () => {
    for (const inside of [
      [0xff],
      [0xc3],
      [0xe2, 0x82],
      [0xed, 0xa0, 0x80],
      [0xf0, 0x9f, 0x98],
      [0xc0, 0x80],
    ]) {
      expectAgreement(Buffer.from([...bytesOf('{"a":"'), ...inside, ...bytesOf('"}')]))
      expectAgreement(Buffer.from([...inside, ...bytesOf("{}")]))
      expectAgreement(Buffer.from([...bytesOf("{}"), ...inside]))
    }
  })
})

describe("long runs, which are looked at natively,", () => {
  const PIECES = [
    '"',
    "\\",
    "\\n",
    '\\"',
    "\\u00e9",
    "\\x",
    "\n",
    "\0",
    "\x1f",
    "\x7f",
    "é",
    "日",
    "\u{1f600}",
    "",
  ]

  test.each(PIECES)("agree with JSON.parse wherever %j stands", (piece) => {
    for (let before = 240; before < 300; before++) {
      for (const after of [0, 7, 300]) {
        const content = `${"a".repeat(before)}${piece}${"b".repeat(after)}`
        expectAgreement(bytesOf(`{"first":"${content}","second":"${content}"}`))
        expectAgreement(bytesOf(`{"first":"${content}`))
      }
    }
  })
})

describe("nesting", () => {
  test("is allowed up to the limit", () => {
    expectAgreement(bytesOf(nested(MAX_DEPTH)))
  })

  test("is refused beyond the limit", () => {
    expect(scanJson(bytesOf(nested(MAX_DEPTH + 1)))).toEqual({
      kind: "invalid",
      offset: MAX_DEPTH,
      message: `more than 1000 levels of nesting at line 1, column ${MAX_DEPTH + 1}`,
    })
  })

  test("of a million arrays or objects is refused without a stack overflow", () => {
    expect(scanJson(bytesOf("[".repeat(1e6))).kind).toBe("invalid")
    expect(scanJson(bytesOf('{"a":'.repeat(1e6))).kind).toBe("invalid")
  })
})

describe("a fault", () => {
  test.each([
    ["", "unexpected end at line 1, column 1"],
    ['{"a":1', "unexpected end at line 1, column 7"],
    ['{\n  "a": 1,\n  }', 'unexpected "}" at line 3, column 3'],
    ['{"grün": x}', 'unexpected "x" at line 1, column 10'],
    ['{"a": “b”}', 'unexpected "“" at line 1, column 7'],
    ['{"a": "b\n"}', "unexpected character U+000A at line 1, column 9"],
    ['{"a": "\\x"}', 'unexpected "x" at line 1, column 9'],
    ['{"a":\u2028 1}', "unexpected character U+2028 at line 1, column 6"],
    ["{'a': 1}", 'unexpected "\'" at line 1, column 2'],
    ['{"a": 01}', 'unexpected "1" at line 1, column 8'],
    ["\uFEFF{,}", 'unexpected "," at line 1, column 2'],
    ["{} {}", 'unexpected "{" at line 1, column 4'],
  ])("in %j is named and placed", (text, message) => {
    expect(scanJson(bytesOf(text))).toMatchObject({ kind: "invalid", message })
  })

  test("in a string that never ends is placed at the end, whatever the length", () => {
    for (let length = 0; length < 30; length++) {
      expect(scanJson(bytesOf(`"${"x".repeat(length)}`))).toMatchObject({
        kind: "invalid",
        offset: length + 1,
      })
    }
  })

  test("shows one character of the text at most", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...NASTY_PIECES), { maxLength: 10 }), (pieces) => {
        const scan = scanJson(bytesOf(pieces.join("")))
        if (scan.kind !== "invalid") return
        expect(scan.message).toMatch(
          /^unexpected (end|character U\+[0-9A-F]{4,6}|"(\\.|.)") at line \d+, column \d+$/u,
        )
      }),
    )
  })
})

test("expected keys are found like any other", () => {
  const text = bytesOf('{"model":1,"mod\\u0065l":2,"modem":3,"":4,"stream":5}')
  const keys = (scan = scanJson(text)) => scan.kind === "object" && scan.fields.map(({ key }) => key)
  expect(keys(scanJson(text, expectKeys(["model", "stream", ""])))).toEqual(keys())
})

const NASTY_PIECES = [
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  '"',
  '""',
  '"a"',
  '"model"',
  '"mod\\u0065l"',
  '"__proto__"',
  "\\",
  "\\u",
  "\\ud83d",
  "\\n",
  "0",
  "-",
  "-0",
  "1",
  "1.5",
  "1e5",
  "E+",
  ".",
  "+",
  "true",
  "false",
  "null",
  "nul",
  " ",
  "\n",
  "\t",
  "\r",
  "\f",
  "\u00a0",
  "\u2028",
  "\uFEFF",
  "\0",
  "\x1f",
  "\x7f",
  "é",
  "🌍",
  "NaN",
  "Infinity",
  "//",
  "'",
] as const

const NASTY_KEYS = [
  '"model"',
  '"mod\\u0065l"',
  '"\\u006dodel"',
  '"__proto__"',
  '"constructor"',
  '""',
  '"é"',
  '"\\u00e9"',
]

function NASTY_CASES(): readonly string[] {
  return [
    "",
    " ",
    "null",
    "true",
    '"text"',
    "12",
    "[]",
    "{}",
    " {} ",
    "[1,]",
    "{,}",
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{"a" 1}',
    "{a:1}",
    "{'a':1}",
    '{"a":1}}',
    '{"a":1} x',
    '{"a":"\\',
    '{"a":"\\u12',
    '{"a":"\\u12G4"}',
    '{"a":"\\ud800"}',
    '{"a":"\t"}',
    '{"a":"\x7f"}',
    '{"a":"\u2028"}',
    '{"a":\u00a01}',
    '{"a":\v1}',
    "\uFEFF{}",
    "\uFEFF\uFEFF{}",
    "{}\uFEFF",
    '{"a":-}',
    '{"a":-01}',
    '{"a":00}',
    '{"a":1.}',
    '{"a":.5}',
    '{"a":1e}',
    '{"a":1e+}',
    '{"a":+1}',
    '{"a":0x1}',
    '{"a":1e999}',
    '{"a":tru}',
    '{"a":truex}',
    '{"a":True}',
    '{"a":undefined}',
    '{"a":1/**/}',
    '{"a":1}//',
    '{"a":1\0}',
    '{"model":"a","model":"b"}',
    '{"model":"a","mod\\u0065l":"b"}',
    '{"__proto__":{"model":"x"}}',
    '{"messages":[{"content":"\\"model\\":\\"x\\""}],"model":"y"}',
    '{"a":{"model":"x"},"model":"y"}',
  ]
}

function expectAgreement(bytes: Uint8Array): void {
  const scan = scanJson(bytes)
  const parsed = parse(bytes)
  if (parsed === INVALID) {
    if (scan.kind !== "invalid") throw new Error(`${scan.kind} for ${decoder.decode(bytes)}`)
    expect(scan.offset).toBeLessThanOrEqual(bytes.length)
    return
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    expect(scan).toEqual({ kind: "other" })
    return
  }
  if (scan.kind !== "object") throw new Error(`${scan.kind} for ${decoder.decode(bytes)}`)
  const last = new Map(scan.fields.map((field) => [field.key, field]))
  expect(new Set(last.keys())).toEqual(new Set(Object.keys(parsed)))
  for (const [key, value] of Object.entries(parsed)) {
    const field = last.get(key)
    if (field === undefined) throw new Error(`no field ${key}`)
    expect(field.kind).toBe(kindOf(value))
    expect(parse(bytes.subarray(field.start, field.end))).toEqual(value)
    if (typeof value === "string") expect(readString(bytes, field)).toBe(value)
  }
}

const INVALID = Symbol("invalid")

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(bytes))
  } catch {
    return INVALID
  }
}

function kindOf(value: unknown): JsonKind {
  if (value === null) return "null"
  if (Array.isArray(value)) return "array"
  return typeof value as JsonKind
}

function applyEdit(
  bytes: Uint8Array,
  { at, remove, insert }: { at: number; remove: number; insert: Uint8Array },
): Uint8Array {
  const start = bytes.length === 0 ? 0 : at % (bytes.length + 1)
  return Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + remove)])
}

function nested(depth: number): string {
  return `${"[".repeat(depth)}${"]".repeat(depth)}`
}
