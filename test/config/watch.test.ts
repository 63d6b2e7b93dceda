import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { watchConfig } from "../../src/config/watch.ts"
import { waitFor } from "../support/wait.ts"

let directory: string
let path: string
let changes: number
let watcher: { close(): void } | undefined

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "leapgate-watch-"))
  path = join(directory, "config.yaml")
  changes = 0
})

afterEach(() => {
  watcher?.close()
  watcher = undefined
  rmSync(directory, { recursive: true })
})

/** Starts to watch, and proves that it does: the file is changed until that is noticed once. */
async function watching(): Promise<void> {
  watcher = watchConfig({ path, text: "", onChange: () => changes++ })
  let round = 0
  await waitFor("the watcher to notice changes", async () => {
    if (round++ % 40 === 0) writeFileSync(path, `# round ${round}`)
    return changes > 0
  })
  changes = 0
}

const changed = (count: number) => waitFor(`change ${count}`, () => changes === count)

describe("the config file", () => {
  test("tells of a save", async () => {
    await watching()
    writeFileSync(path, "server: {}")
    await changed(1)
  })

  test("tells of every one of several atomic saves", async () => {
    await watching()
    for (const round of [1, 2, 3]) {
      writeFileSync(`${path}.tmp`, `# atomic ${round}`)
      renameSync(`${path}.tmp`, path)
      await changed(round)
    }
  })

  test("tells of a change between the reading and the watching", async () => {
    writeFileSync(path, "server: { port: 1 }")
    watcher = watchConfig({ path, text: "server: {}", onChange: () => changes++ })
    await changed(1)
  })

  test("is followed when it is removed and made again", async () => {
    await watching()
    rmSync(path)
    writeFileSync(path, "server: { port: 1 }")
    await changed(1)
  })

  test("is followed through a link that is swapped, as Kubernetes does it", async () => {
    mkdirSync(join(directory, "v1"))
    mkdirSync(join(directory, "v2"))
    symlinkSync("v1", join(directory, "..data"))
    symlinkSync("..data/config.yaml", path)
    writeFileSync(join(directory, "v1/config.yaml"), "# one")
    await watching()
    writeFileSync(join(directory, "v2/config.yaml"), "# two")
    symlinkSync("v2", join(directory, "..next"))
    renameSync(join(directory, "..next"), join(directory, "..data"))
    await changed(1)
  })

  test.each([
    ["a save without a change", () => writeFileSync(path, "# same")],
    ["an empty file, which an editor is about to fill", () => writeFileSync(path, "")],
    ["its removal", () => rmSync(path)],
    ["other files", () => writeFileSync(join(directory, "config.yaml.bak"), "# other")],
  ])("says nothing about %s", async (_, change) => {
    await watching()
    writeFileSync(path, "# same")
    await changed(1)
    change()
    // Another watcher sees a later change: by then this one has seen the one before.
    let later = 0
    const other = watchConfig({ path: join(directory, "later.yaml"), text: "", onChange: () => later++ })
    await waitFor("the later change", () => {
      writeFileSync(join(directory, "later.yaml"), `# ${performance.now()}`)
      return Bun.sleep(150).then(() => later > 0)
    })
    other.close()
    expect(changes).toBe(1)
  })

  test("says nothing after it is closed", async () => {
    await watching()
    watcher?.close()
    watcher = watchConfig({ path, text: "", onChange: () => (changes += 100) })
    await waitFor("the second watcher to notice changes", () => {
      writeFileSync(path, `# ${performance.now()}`)
      return Bun.sleep(150).then(() => changes > 0)
    })
    expect(changes % 100).toBe(0)
  })
})
