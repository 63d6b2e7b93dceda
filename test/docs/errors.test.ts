import { expect, test } from "bun:test"
import { ERRORS } from "../../src/errors.ts"
import { codeRows, readPage } from "./page.ts"

test("docs/reference/errors.md has exactly the rows of the error table", async () => {
  const rows = codeRows((await readPage("docs/reference/errors.md")).text)
  const documented = Object.fromEntries(
    rows.map(([code = "", status, type, kind, retryable]) => [
      code,
      { status: Number(status), type, kind, retryable: retryable === "yes" },
    ]),
  )
  expect(rows.map((cells) => cells.length)).toEqual(rows.map(() => 6))
  expect<unknown>(documented).toEqual(ERRORS)
})
