import { describe, expect, test } from "bun:test"
import { tmpdir } from "node:os"
import packageJson from "../../package.json" with { type: "json" }
import { runCommand } from "../support/terminal.ts"

const run = (...args: string[]) => runCommand(args, { cwd: tmpdir() })

describe("what was meant", () => {
  test.each([
    [["serv"], "Did you mean serve?"],
    [["serve", "--prot", "1"], "Did you mean --port?"],
    [["config", "chek"], "Did you mean check?"],
    [["config", "check", "--confg", "x"], "Did you mean --config?"],
  ])("%j is refused with a suggestion and exit code 2", async (args, suggestion) => {
    const { exitCode, out, err } = await run(...args)
    expect(exitCode).toBe(2)
    expect(err).toContain(suggestion)
    expect(out).toBe("")
  })

  test.each([
    [["serve", "--port", "70000"], "number from 0 to 65535"],
    [["serve", "--port", "http"], "number from 0 to 65535"],
    [["serve", "--config"], "argument missing"],
    [["serve", "here"], "too many arguments"],
    [["plugin"], "Usage: leapgate plugin"],
  ])("%j is refused with exit code 2", async (args, message) => {
    const { exitCode, err } = await run(...args)
    expect(exitCode).toBe(2)
    expect(err).toContain(message)
  })
})

describe("help", () => {
  test("comes with examples, also when nothing is asked for", async () => {
    const asked = await run("--help")
    expect(asked).toMatchObject({ exitCode: 0, err: "" })
    expect(asked.out).toContain("leapgate serve --port 9000")
    expect(await run()).toEqual(asked)
  })

  test("every command of the examples exists", async () => {
    const { out } = await run("--help")
    const examples = [...out.matchAll(/^ {2}leapgate ((?:[a-z]+ ?)+)/gm)].map(
      ([, words]) => words?.trim().split(" ") ?? [],
    )
    expect(examples.length).toBeGreaterThan(4)
    for (const words of examples) {
      expect(await run(...words, "--help")).toMatchObject({ exitCode: 0 })
    }
  })

  test("the version is the package's", async () => {
    expect(await run("--version")).toEqual({ exitCode: 0, out: packageJson.version, err: "" })
  })
})
