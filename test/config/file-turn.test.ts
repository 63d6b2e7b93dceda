import { expect, test } from "bun:test"
import { existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { inFileTurn } from "../../src/config/file-turn.ts"
import { temporaryDirectory } from "../plugin/fixtures.ts"

test("work on a file waits for who has the turn, and leaves nothing behind", async () => {
  const path = join(temporaryDirectory(), "config.yaml")
  writeFileSync(path, "0")
  writeFileSync(`${path}.lock`, "")
  let isDone = false
  const turn = inFileTurn(path, () => {
    isDone = true
    writeFileSync(path, "1")
    return "done"
  })
  await new Promise(setImmediate)
  expect(isDone).toBe(false)
  rmSync(`${path}.lock`)
  expect(await turn).toBe("done")
  expect(readFileSync(path, "utf8")).toBe("1")
  expect(existsSync(`${path}.lock`)).toBe(false)
})

test("the turn of a process that was killed is over at some time", async () => {
  const path = join(temporaryDirectory(), "config.yaml")
  writeFileSync(`${path}.lock`, "")
  const longAgo = new Date(Date.now() - 60_000)
  utimesSync(`${path}.lock`, longAgo, longAgo)
  expect(await inFileTurn(path, () => "done")).toBe("done")
})

test("a turn ends with an error of the work", async () => {
  const path = join(temporaryDirectory(), "config.yaml")
  const turn = inFileTurn(path, () => {
    throw new Error("no")
  })
  await expect(turn).rejects.toThrow("no")
  expect(existsSync(`${path}.lock`)).toBe(false)
})

test("where no turn can be noted, the work says itself what is wrong", async () => {
  const path = join(temporaryDirectory(), "missing", "config.yaml")
  const turn = inFileTurn(path, () => writeFileSync(path, "1"))
  await expect(turn).rejects.toThrow("ENOENT")
})
