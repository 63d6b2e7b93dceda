import { describe, expect, test } from "bun:test"
import { createTraceId, parseTraceparent, TraceContext } from "../../src/telemetry/traceparent.ts"

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
const PARENT_ID = "b7ad6b7169203331"
const HEADER = `00-${TRACE_ID}-${PARENT_ID}-01`

describe("a traceparent header", () => {
  test("is read", () => {
    expect(parseTraceparent(HEADER)).toEqual({ traceId: TRACE_ID, parentId: PARENT_ID, isSampled: true })
  })

  test.each([
    ["00", false],
    ["01", true],
    ["02", false],
    ["03", true],
    ["ff", true],
  ])("with flags %s is sampled: %p", (flags, isSampled) => {
    expect(parseTraceparent(`00-${TRACE_ID}-${PARENT_ID}-${flags}`)?.isSampled).toBe(isSampled)
  })

  test("of a later version is read as far as it is known", () => {
    expect(parseTraceparent(`01-${TRACE_ID}-${PARENT_ID}-01-what-comes-later`)?.traceId).toBe(TRACE_ID)
    expect(parseTraceparent(`cc-${TRACE_ID}-${PARENT_ID}-01`)?.traceId).toBe(TRACE_ID)
  })

  test.each([
    ["absent", undefined],
    ["null", null],
    ["empty", ""],
    ["of version ff", `ff-${TRACE_ID}-${PARENT_ID}-01`],
    ["of version 00 and longer", `${HEADER}-extra`],
    ["of a later version and longer without a dash", `01-${TRACE_ID}-${PARENT_ID}-01extra`],
    ["in upper case", HEADER.toUpperCase()],
    ["with a trace id of zeros", `00-${"0".repeat(32)}-${PARENT_ID}-01`],
    ["with a parent id of zeros", `00-${TRACE_ID}-${"0".repeat(16)}-01`],
    ["with a short trace id", `00-${TRACE_ID.slice(1)}-${PARENT_ID}-01`],
    ["with a long trace id", `00-${TRACE_ID}a-${PARENT_ID}-01`],
    ["with other digits", `00-${TRACE_ID.replace("a", "g")}-${PARENT_ID}-01`],
    ["with spaces around it", ` ${HEADER} `],
    ["with a line break after it", `${HEADER}\n`],
    ["twice, joined", `${HEADER}, ${HEADER}`],
    ["without dashes", HEADER.replaceAll("-", "_")],
    ["enormous", `01-${TRACE_ID}-${PARENT_ID}-01-${"x".repeat(1_000_000)}`],
  ])("that is %s is ignored", (_, header) => {
    expect(parseTraceparent(header)).toBeUndefined()
  })
})

describe("a trace", () => {
  test("is the caller's where there is one", () => {
    const trace = new TraceContext(HEADER)
    expect(trace.traceId).toBe(TRACE_ID)
    expect(trace.parent?.parentId).toBe(PARENT_ID)
  })

  test("is new otherwise, and stays the same", () => {
    const trace = new TraceContext("garbage")
    expect(trace.traceId).toMatch(/^[0-9a-f]{32}$/)
    expect(trace.traceId).toBe(trace.traceId)
    expect(trace.parent).toBeUndefined()
  })

  test("has an id nobody else has", () => {
    expect(new Set(Array.from({ length: 1000 }, createTraceId)).size).toBe(1000)
  })
})
