import { expect, test } from "bun:test"
import { positionOf } from "../../src/source/source-position.ts"

function errorWith(stack: string): Error {
  return Object.assign(new Error("boom"), { stack })
}

test("the innermost frame in one of the files is the place", () => {
  const error = errorWith(
    `Error: boom
    at parse (/gateway/lib.ts:9:9)
    at check (/plugins/helper.ts:5:13)
    at setup (/plugins/a.ts:13:20)`,
  )
  expect(positionOf(error, ["/plugins/a.ts", "/plugins/helper.ts"])).toEqual({
    file: "/plugins/helper.ts",
    line: 5,
    column: 13,
  })
})

test.each([
  "    at /plugins/a.ts:1:2",
  "    at async /plugins/a.ts:1:2",
  "    at <anonymous> (/plugins/a.ts:1:2)",
  "    at async setUp (/plugins/a.ts:1:2)",
])("the frame %p is understood", (frame) => {
  expect(positionOf(errorWith(`Error: boom\n${frame}`), ["/plugins/a.ts"])).toEqual({
    file: "/plugins/a.ts",
    line: 1,
    column: 2,
  })
})

test("paths with blanks and brackets are understood", () => {
  const file = "/my plugins (new)/a.ts"
  expect(positionOf(errorWith(`Error: boom\n    at setup (${file}:3:4)`), [file])?.line).toBe(3)
})

test("errors from elsewhere, and what is no error, have no place", () => {
  expect(
    positionOf(errorWith("Error: boom\n    at run (/gateway/x.ts:1:1)"), ["/plugins/a.ts"]),
  ).toBeUndefined()
  expect(positionOf("boom", ["/plugins/a.ts"])).toBeUndefined()
})
