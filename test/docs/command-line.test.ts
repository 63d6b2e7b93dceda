import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PLUGIN_TYPES } from "../../src/plugin/contract.ts"
import { freePort } from "../support/free-port.ts"
import { runCommand } from "../support/terminal.ts"
import { codeRows, readPage, sectionOf } from "./page.ts"

const { text, blocks } = await readPage("docs/reference/command-line.md")

let cwd: string

beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "leapgate-docs-"))
})

afterAll(async () => {
  await rm(cwd, { recursive: true })
})

const run = (...args: string[]) => runCommand(args, { cwd })

test("the page has a section for each command of the program", async () => {
  const documented = [...text.matchAll(/^## leapgate ?(.*)$/gm)].map(([, words]) => words)
  expect(documented.toSorted()).toEqual((await commands()).toSorted())
})

test("each section has the options of its command", async () => {
  for (const command of await commands()) {
    const { out } = await run(...wordsOf(command), "--help")
    const options = [...partOf(out, "Options:").matchAll(/^ {2}(-.+?) {2,}/gm)].map(([, option]) => option)
    const shown = codeRows(sectionOf(text, `leapgate ${command}`.trim())).map(([option]) => option)
    const wanted = command === "" ? options : options.filter((option) => option !== "-h, --help")
    expect({ command, options: shown }).toEqual({ command, options: wanted })
  }
})

describe("the exit codes of the page", () => {
  test.each([
    [0, ["config", "check"]],
    [0, ["plugin", "list"]],
    [1, ["config", "check", "--config", "not-there.yaml"]],
    [2, ["config", "chek"]],
    [2, ["serve", "--port", "x"]],
  ])("%i is that of %j", async (code, args) => {
    expect((await run(...args)).exitCode).toBe(code)
    expect(codeRows(sectionOf(text, "Exit codes")).map(([shown]) => Number(shown))).toContain(code)
  })
})

test("leapgate plugin list prints what is shown", async () => {
  await mkdir(join(cwd, "plugins"))
  await Bun.write(join(cwd, "plugins/broken.ts"), "export const = 1\n")
  const { out, exitCode } = await run("plugin", "list")
  await rm(join(cwd, "plugins"), { recursive: true })
  expect(exitCode).toBe(1)
  expect(settled(out)).toBe(settled(shownBy("NAME ")))
})

test("leapgate plugin verify prints what is shown", async () => {
  await Bun.write(
    join(cwd, "plugins/broken.ts"),
    `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "broken",
  version: "1.0.0",
  type: "middleware",
  setup: () => ({ beforeHandle({ setHeader }) { setHeader("x-answer", 42) } }),
})
`,
  )
  const { out, exitCode } = await run("plugin", "verify", "broken")
  await rm(join(cwd, "plugins"), { recursive: true })
  expect(exitCode).toBe(1)
  expect(out).toBe(shownBy("✗ broken").trimEnd())
}, 20_000)

test("the types of plugin new are those of the page", async () => {
  const rows = codeRows(sectionOf(text, "leapgate plugin new"))
  const [, meaning = ""] = rows.find(([option]) => option === "--type <type>") ?? []
  expect([...meaning.matchAll(/`(\w+)`/g)].map(([, name]) => name)).toEqual([...PLUGIN_TYPES])
})

test("leapgate doctor prints what is shown", async () => {
  const config = `server: { port: ${freePort()} }\nplugins: { configs: { example-provider: {} } }\n`
  await Bun.write(join(cwd, "config.yaml"), config)
  const { out } = await run("doctor")
  // Whether the limit on open files is good or doubtful is this machine's affair.
  const lines = (printed: string) => settled(printed).replace(/^. (?=# files)/m, "✓ ")
  expect(lines(out)).toBe(lines(shownBy("✓ Bun")))
})

function shownBy(start: string): string {
  return blocks.find((block) => block.text.startsWith(start))?.text ?? ""
}

/** Without what differs from machine to machine: the folder, numbers, and the width of columns. */
function settled(printed: string): string {
  return printed
    .replaceAll(cwd, "/etc/leapgate")
    .replace(/ {2,}/g, "  ")
    .replace(/\d+(\.\d+)*/g, "#")
    .replace(/^(. # files and connections may be open at a time).*$/m, "$1")
    .trim()
}

/** All commands that do something, the program itself as the empty one. */
async function commands(): Promise<readonly string[]> {
  const below = await Promise.all(
    (await subcommandsOf("")).map(async (name) => {
      const inner = await subcommandsOf(name)
      return inner.length === 0 ? [name] : inner.map((word) => `${name} ${word}`)
    }),
  )
  return ["", ...below.flat()]
}

async function subcommandsOf(command: string): Promise<readonly string[]> {
  const { out } = await run(...wordsOf(command), "--help")
  return [...partOf(out, "Commands:").matchAll(/^ {2}([a-z]+)/gm)]
    .map(([, name = ""]) => name)
    .filter((name) => name !== "help")
}

/** The lines of a help text below one of its headings. */
function partOf(help: string, heading: string): string {
  const start = help.indexOf(`${heading}\n`)
  if (start < 0) return ""
  const rest = help.slice(start + heading.length)
  const end = rest.indexOf("\n\n")
  return end < 0 ? rest : rest.slice(0, end)
}

const wordsOf = (command: string): string[] => command.split(" ").filter((word) => word !== "")
