import { expect, test } from "bun:test"
import { join } from "node:path"
import { ERRORS } from "../../src/errors.ts"

const PAGE = join(import.meta.dir, "../../docs/reference/errors.md")

test("docs/reference/errors.md has exactly the rows of the error table", async () => {
  const rows = [
    ...(await Bun.file(PAGE).text()).matchAll(/^\| `(\w+)` \| (\d+) \| `(\w+)` \| (\w+) \| (yes|no) \|/gm),
  ]
  const documented = Object.fromEntries(
    rows.map(([, code, status, type, kind, retryable]) => [
      code,
      { status: Number(status), type, kind, retryable: retryable === "yes" },
    ]),
  )
  expect(documented).toEqual(ERRORS)
})
