import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import fc from "fast-check"
import { type Json, type JsonObject, mergePatch, patchYaml } from "../../src/config/edit.ts"
import { parseTree } from "../../src/config/tree.ts"

describe("a merge patch", () => {
  // Source: RFC 7386, appendix A
  test.each<[Json, Json, Json]>([
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [
      ["a", "b"],
      ["c", "d"],
      ["c", "d"],
    ],
    [{ a: "b" }, ["c"], ["c"]],
    [{ a: "foo" }, null, null],
    [{ a: "foo" }, "bar", "bar"],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])("makes of %j with %j %j", (target, patch, result) => {
    expect(mergePatch(target, patch)).toEqual(result)
  })
})

describe("the text keeps all that is not patched:", () => {
  const TEXT = `# top
plugins:   # odd   spacing
    configs:
        limiter: # why
            enabled: true
            config:
                # the limit
                max: 100   # per window
                window: '1m'

                routes: ["/a", "/b"]
                nested: { x: 1, y: "\${Y}", z: [1,2] }
            priority: 3
        # between
        other:
            config: { a: 1 }
# end
telemetry: {logs:   {level: info}}
`
  const patched = (config: JsonObject, name = "limiter") =>
    patchYaml(TEXT, { plugins: { configs: { [name]: { config } } } })
  const lines = (text: string) => text.split("\n")
  const difference = (edited: string) => ({
    gone: lines(TEXT).filter((line) => !lines(edited).includes(line)),
    come: lines(edited).filter((line) => !lines(TEXT).includes(line)),
  })

  test("a value", () => {
    expect(difference(patched({ max: 5 }))).toEqual({
      gone: ["                max: 100   # per window"],
      come: ["                max: 5   # per window"],
    })
  })

  test("a new key, nested ones too", () => {
    expect(difference(patched({ fresh: "yes", deep: { er: { "a b": [1, "x"] } } })).come).toEqual([
      "                fresh: yes",
      "                deep:",
      "                  er:",
      "                    a b: [1, x]",
    ])
  })

  test("a key that goes", () => {
    expect(difference(patched({ window: null }))).toEqual({
      gone: ["                window: '1m'"],
      come: [],
    })
  })

  test("inside of braces", () => {
    expect(difference(patched({ nested: { x: null, z: null, n: "a, b" } })).come).toEqual([
      `                nested: { y: "\${Y}", n: "a, b" }`,
    ])
    expect(difference(patched({ a: null }, "other")).come).toEqual(["            config: {}"])
    expect(difference(patched({ a: { b: true } }, "other")).come).toEqual([
      "            config: { a: { b: true } }",
    ])
  })

  test("all keys that go leave an empty mapping", () => {
    const config = { max: null, window: null, routes: null, nested: null }
    expect(patched(config)).toContain(
      "            config:\n                # the limit\n\n                {}\n            priority: 3\n",
    )
  })

  test("a plugin that had no entry", () => {
    expect(difference(patched({ size: 1 }, "third")).come).toEqual([
      "        third:",
      "          config:",
      "            size: 1",
    ])
  })
})

test.each([
  ["", "plugins:\n  size: 1\n"],
  ["# only a comment", "# only a comment\nplugins:\n  size: 1\n"],
  ["plugins:", "plugins:\n  size: 1\n"],
  ["plugins: # soon\n  # size: 2\n", "plugins: # soon\n  size: 1\n  # size: 2\n"],
  ["plugins: {}\n", "plugins: { size: 1 }\n"],
  ["plugins: ~\n", "plugins: { size: 1 }\n"],
  ["a: 1\r\nplugins:\r\n  x: |\r\n    text\r\n", "a: 1\r\nplugins:\r\n  x: |\r\n    text\r\n  size: 1\r\n"],
  ["plugins:\n  size:\n    - 1\n    - 2 # two\nb: 1\n", "plugins:\n  size: 1 # two\nb: 1\n"],
  ["plugins:\n  size: |\n    text\nb: 1\n", "plugins:\n  size: 1\nb: 1\n"],
])("%j becomes %j", (before, after) => {
  expect(patchYaml(before, { plugins: { size: 1 } })).toBe(after)
})

test("what an anchor or a merge brings is not changed for others by mistake", () => {
  const text = "base: &b { x: 1 }\nplugins:\n  a: *b\n  c: { <<: *b, y: 2 }\n"
  expect(patchYaml(text, { plugins: { a: { x: 5 } } })).toBe(text.replace("a: *b", "a: { x: 5 }"))
  expect(() => patchYaml(text, { base: { x: 5 } })).toThrow("edit it by hand")
  expect(() => patchYaml(text, { plugins: { c: { x: null } } })).toThrow("edit it by hand")
})

test("whatever is patched, the values are the merged ones, and every comment is still there", async () => {
  const shipped = await Bun.file(join(import.meta.dir, "../../config.yaml")).text()
  const key = fc.constantFrom("max_requests", "window", "routes", "api_key", "x", "a: b", "- c", "#", "")
  const leaf = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constantFrom("1m", "yes", "null", "$" + "{A}", "a\nb", "5%", "[", "it's"),
    fc.array(fc.string(), { maxLength: 3 }),
  )
  const { node } = fc.letrec((tie) => ({
    node: fc.dictionary(key, fc.oneof({ weight: 4, arbitrary: leaf }, fc.constant(null), tie("node")), {
      maxKeys: 4,
    }),
  }))
  const name = fc.constantFrom("rate-limiter", "model-router", "example-provider", "fresh")
  const comments = (text: string) => text.match(/# .*$/gm)
  fc.assert(
    fc.property(
      fc.array(fc.tuple(name, node as fc.Arbitrary<JsonObject>), { minLength: 1, maxLength: 4 }),
      (steps) => {
        let text = shipped
        for (const [plugin, config] of steps) {
          const patch = { plugins: { configs: { [plugin]: { config } } } }
          const wanted = mergePatch(parseTree(text).value, patch)
          text = patchYaml(text, patch)
          expect(filled(parseTree(text).value)).toEqual(filled(wanted))
        }
        const own = (comment: string) => !["# or api_key, user_id"].includes(comment)
        const kept = comments(text)
        for (const comment of (comments(shipped) ?? []).filter(own)) expect(kept).toContain(comment)
      },
    ),
    { numRuns: 200 },
  )
})

/** A key without a value, and one with an empty mapping, say the same. */
function filled(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value
  const entries = Object.entries(value).map(([key, item]) => [key, filled(item)] as const)
  const full = entries.filter(([, item]) => item !== null && JSON.stringify(item) !== "{}")
  return Object.fromEntries(full)
}
