import { beforeEach, describe, expect, test } from "bun:test"
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pluginText, temporaryDirectory } from "../plugin/fixtures.ts"
import { runCommand } from "../support/terminal.ts"

let cwd: string
let lockFile: string

beforeEach(() => {
  cwd = temporaryDirectory()
  lockFile = join(cwd, "plugins/plugins.lock")
  mkdirSync(join(cwd, "plugins"))
  writePlugin("one")
  writePlugin("two")
})

function writePlugin(name: string, version = "1.0.0"): void {
  const setup = `throw new Error("nobody asked for this")`
  writeFileSync(join(cwd, `plugins/${name}.ts`), pluginText({ name, version, setup }))
}

const lock = (...args: string[]) => runCommand(["plugin", "lock", ...args], { cwd })
const versions = () =>
  Object.entries<{ version: string }>(JSON.parse(readFileSync(lockFile, "utf8")).plugins).map(
    ([name, { version }]) => `${name} ${version}`,
  )

describe("plugin lock", () => {
  test("writes what the plugins are made of, sets none up, and writes the same the next time", async () => {
    expect(await lock()).toEqual({ exitCode: 0, out: `one: added\ntwo: added\nwrote ${lockFile}`, err: "" })
    const text = readFileSync(lockFile, "utf8")
    const sha256 = new Bun.CryptoHasher("sha256")
      .update(readFileSync(join(cwd, "plugins/one.ts")))
      .digest("hex")
    expect(JSON.parse(text).plugins.one).toEqual({
      version: "1.0.0",
      source: "one.ts",
      files: { "one.ts": sha256 },
      packages: {},
    })
    expect(text).toEndWith("}\n")
    expect(await lock()).toEqual({ exitCode: 0, out: `${lockFile} is up to date`, err: "" })
    expect(readFileSync(lockFile, "utf8")).toBe(text)
  })

  test("follows what changed, came and went", async () => {
    await lock()
    writePlugin("one", "1.1.0")
    writePlugin("three")
    rmSync(join(cwd, "plugins/two.ts"))
    const { out } = await lock()
    expect(out.split("\n")).toEqual([
      "one: version (expected 1.0.0, found 1.1.0)",
      expect.stringMatching(/^one: one\.ts \(expected [0-9a-f]{12}, found [0-9a-f]{12}\)$/),
      "three: added",
      "two: taken out",
      `wrote ${lockFile}`,
    ])
    expect(versions()).toEqual(["one 1.1.0", "three 1.0.0"])
  })

  test("of some plugins leaves the others as they were", async () => {
    await lock()
    writePlugin("one", "1.1.0")
    writePlugin("two", "1.1.0")
    expect((await lock("two")).exitCode).toBe(0)
    expect(versions()).toEqual(["one 1.0.0", "two 1.1.0"])
  })

  test("of a plugin that is not there, or is bundled, is refused", async () => {
    for (const name of ["three", "rate-limiter"]) {
      const { exitCode, err } = await lock(name)
      expect(exitCode).toBe(1)
      expect(err).toContain(`no plugin of the directory is called "${name}"`)
    }
    expect(existsSync(lockFile)).toBe(false)
  })

  test("tells which plugin cannot be read, fails, and keeps what the lock said of it", async () => {
    await lock()
    writeFileSync(join(cwd, "plugins/one.ts"), "export default {{{")
    writePlugin("two", "1.1.0")
    const { exitCode, err } = await lock()
    expect(exitCode).toBe(1)
    expect(err).toContain('plugin "one" cannot be read: ')
    expect(versions()).toEqual(["one 1.0.0", "two 1.1.0"])
  })

  test("works where nothing else may load", async () => {
    writeFileSync(join(cwd, "config.yaml"), "plugins: { locked: true }\n")
    const before = await runCommand(["plugin", "list"], { cwd })
    expect(before.exitCode).toBe(1)
    expect(before.out).toContain("plugins.lock is missing")
    expect((await lock()).exitCode).toBe(0)
    expect((await runCommand(["plugin", "list"], { cwd })).exitCode).toBe(0)
  })

  test("does not write over a lock that it cannot read", async () => {
    writeFileSync(lockFile, "{")
    const { exitCode, err } = await lock()
    expect(exitCode).toBe(1)
    expect(err).toContain("code: plugin_integrity")
    expect(readFileSync(lockFile, "utf8")).toBe("{")
  })
})

describe("plugin lock --check", () => {
  test("is content with what is as the lock says", async () => {
    await lock()
    expect(await lock("--check")).toEqual({
      exitCode: 0,
      out: `the plugins are what ${lockFile} says`,
      err: "",
    })
  })

  test("lists every difference, fails, and writes nothing", async () => {
    await lock()
    const text = readFileSync(lockFile, "utf8")
    writeFileSync(join(cwd, "plugins/one.ts"), `${readFileSync(join(cwd, "plugins/one.ts"), "utf8")}\n`)
    writePlugin("three")
    rmSync(join(cwd, "plugins/two.ts"))
    const { exitCode, out } = await lock("--check")
    expect(exitCode).toBe(1)
    expect(out.split("\n")).toEqual([
      expect.stringMatching(/^one: one\.ts \(expected [0-9a-f]{12}, found [0-9a-f]{12}\)$/),
      "three: is not listed",
      "two: is listed, and not there",
    ])
    expect(readFileSync(lockFile, "utf8")).toBe(text)
  })

  test("fails where there is no lock", async () => {
    expect((await lock("--check")).exitCode).toBe(1)
    expect(existsSync(lockFile)).toBe(false)
  })
})
