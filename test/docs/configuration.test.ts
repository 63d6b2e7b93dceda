import { expect, test } from "bun:test"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { KNOWN_PROVIDERS } from "../../src/config/discover.ts"
import { ConfigSchema } from "../../src/config/schema.ts"
import { parseDuration, parseSize } from "../../src/config/units.ts"
import { faultLines } from "../support/config.ts"
import { runCommand } from "../support/terminal.ts"
import { codeRows, readPage, sectionOf } from "./page.ts"
import { schemaRows } from "./schema-rows.ts"

const { text, blocks } = await readPage("docs/reference/configuration.md")

test("the page has each key of the schema once, with its type and default", () => {
  const rows = codeRows(text).filter((cells) => cells.length === 4)
  const documented = rows.map(([key, type, fallback]) => ({ key, type, fallback }))
  const unquoted = schemaRows(ConfigSchema).map((row) => ({
    ...row,
    // A type that is nothing but one value stands in backticks of its own.
    type: row.type.replace(/^`([^`]*)`$/, "$1"),
  }))
  expect(documented).toEqual(unquoted)
})

test("the page says what every key means", () => {
  for (const [key, , , meaning = ""] of codeRows(text).filter((cells) => cells.length === 4)) {
    expect({ key, isExplained: meaning.length > 10 }).toEqual({ key, isExplained: true })
  }
})

test("the page has the providers that are found, in order", () => {
  const rows = codeRows(sectionOf(text, "Providers that are found"))
  const known = Object.entries(KNOWN_PROVIDERS).map(([name, { variable }]) => [name, variable])
  expect(rows.map(([name, variable]) => [name, variable])).toEqual(known)
})

test("the examples of units are units", () => {
  const [, durations = ""] = /^\| duration +\| (.+) \|$/m.exec(text) ?? []
  const [, sizes = ""] = /^\| size +\| (.+); /m.exec(text) ?? []
  const examples = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, example = ""]) => example)
  expect(examples(durations).map(parseDuration)).toEqual([250, 30_000, 90_000, 7_200_000, 604_800_000])
  expect(examples(sizes).map(parseSize)).toEqual([512, 500_000, 32 * 2 ** 20, 2 ** 30])
})

test("the faults that the page shows are those of such a file", async () => {
  const shown = blocks.findIndex((block) => block.text.startsWith("error: bad.yaml"))
  const directory = await mkdtemp(join(tmpdir(), "leapgate-docs-"))
  try {
    await Bun.write(join(directory, "bad.yaml"), String(blocks[shown - 1]?.text))
    const { err, exitCode } = await runCommand(["config", "check", "--config", "bad.yaml"], {
      cwd: directory,
    })
    expect(exitCode).toBe(1)
    expect(`${err.trimEnd()}\n`).toBe(String(blocks[shown]?.text))
  } finally {
    await rm(directory, { recursive: true })
  }
})

test("what the page says of variables holds", () => {
  expect(faultLines("server: { host: $" + "{LG_NOT_SET} }")).toHaveLength(1)
  expect(faultLines("server: { port: 1 }\nserver: { port: 2 }")).toHaveLength(1)
})
