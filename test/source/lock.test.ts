import { describe, expect, test } from "bun:test"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { differences, formatLock, type Lock, parseLock } from "../../src/source/lock.ts"
import { Harness, pluginText, temporaryDirectory } from "../plugin/fixtures.ts"

const HASH = "a".repeat(64)
const OTHER = "b".repeat(64)
const entry = (source: string, files: Record<string, string> = { [source]: HASH }) => ({
  version: "1.0.0",
  source,
  files,
  packages: {},
})
const lockText = (plugins: Lock["plugins"]) => formatLock({ version: 1, plugins })

describe("the text of a lock", () => {
  test("is sorted whatever order it is made in, has a line for each hash and a line break at the end", () => {
    const files = { "z.ts": HASH, "a.ts": OTHER }
    const packages = { "two@2.0.0": HASH, "one@1.0.0": OTHER }
    const text = lockText({ zeta: { ...entry("z.ts", files), packages }, alpha: entry("b.ts") })
    expect(text).toBe(`{
  "version": 1,
  "plugins": {
    "alpha": {
      "version": "1.0.0",
      "source": "b.ts",
      "files": {
        "b.ts": "${HASH}"
      },
      "packages": {}
    },
    "zeta": {
      "version": "1.0.0",
      "source": "z.ts",
      "files": {
        "a.ts": "${OTHER}",
        "z.ts": "${HASH}"
      },
      "packages": {
        "one@1.0.0": "${OTHER}",
        "two@2.0.0": "${HASH}"
      }
    }
  }
}
`)
    expect(formatLock(parseLock(text))).toBe(text)
  })

  test.each([
    ["no JSON", "{"],
    ["no lock", "{}"],
    ["of another format", `{ "version": 2, "plugins": {} }`],
    ["with a hash that is none", lockText({ a: entry("a.ts", { "a.ts": "abc" }) })],
    ["with an unknown property", lockText({ a: entry("a.ts") }).replace(`"source"`, `"sauce": 1, "source"`)],
    ["with a source that climbs out", lockText({ a: entry("../a.ts") })],
    ["with an absolute source", lockText({ a: entry("/etc/a.ts", {}) })],
    ["with a file that climbs out", lockText({ a: entry("a.ts", { "x/../../b.ts": HASH }) })],
    ["with a package that climbs out", lockText({ a: entry("package:../x", {}) })],
    ["with backslashes", lockText({ a: entry("..\\a.ts", {}) })],
    ["with one source for two plugins", lockText({ a: entry("a.ts"), b: entry("a.ts") })],
  ])("%s is refused", (_, text) => {
    expect(() => parseLock(text)).toThrow()
  })
})

test("a difference is what changed, what came and what went", () => {
  const locked = { ...entry("a.ts", { "a.ts": HASH, "gone.ts": HASH }), packages: { "p@1.0.0": HASH } }
  const inputs = [
    { file: "/d/a.ts", name: "a.ts", sha256: OTHER },
    { file: "/d/new.ts", name: "new.ts", sha256: HASH },
  ]
  expect(differences(locked, { inputs, hash: "", packages: [{ id: "p@1.0.1", sha256: HASH }] })).toEqual([
    { what: "a.ts", expected: HASH, actual: OTHER },
    { what: "new.ts", expected: undefined, actual: HASH },
    { what: "gone.ts", expected: HASH, actual: undefined },
    { what: "p@1.0.1", expected: undefined, actual: HASH },
    { what: "p@1.0.0", expected: HASH, actual: undefined },
  ])
})

/** Writes the lock of what is in the directory now. */
async function writeLock({ directory }: Harness, packages: readonly string[] = []): Promise<void> {
  await using reader = new Harness({ directory })
  reader.packages.push(...packages)
  await reader.registry.loadAll()
  const plugins = Object.fromEntries(
    reader.registry.lockable().flatMap(({ name, entry }) => (entry ? [[name, entry]] : [])),
  )
  writeFileSync(join(directory, "plugins.lock"), lockText(plugins))
}

const locked = () => new Harness({ isLocked: true })

describe("with plugins.locked", () => {
  test("what is as the lock says loads", async () => {
    await using harness = locked()
    harness.write("_shared.ts", "export {}")
    harness.write("a.ts", pluginText({ name: "a", top: `import "./_shared.ts"` }))
    await writeLock(harness)
    expect((await harness.registry.loadAll()).active).toEqual(["a"])
    expect(harness.registry.getInfo("a").integrity).toEqual({
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      locked: true,
    })
  })

  test("a plugin that is not listed does not load, and is not imported", async () => {
    await using harness = locked()
    harness.write("a.ts", pluginText({ name: "a" }))
    await writeLock(harness)
    const key = `leapgate-import-${crypto.randomUUID()}`
    const top = `process.env["${key}"] = "ran"`
    const file = harness.write("b.ts", pluginText({ name: "b", top }))
    expect((await harness.registry.loadAll()).active).toEqual(["a"])
    expect(harness.registry.getInfo("b").error).toMatchObject({
      code: "plugin_integrity",
      message: `${file} is not listed in ${harness.directory}/plugins.lock; if it is meant to load, run \`leapgate plugin lock\``,
    })
    expect(process.env[key]).toBeUndefined()
  })

  test("a changed file is a failed reload that names it, and what served before serves on", async () => {
    await using harness = locked()
    harness.write("_shared.ts", "export const x = 1")
    const file = harness.write("a.ts", pluginText({ name: "a", top: `import "./_shared.ts"` }))
    await writeLock(harness)
    await harness.registry.loadAll()
    const before = harness.registry.getInfo("a").integrity
    harness.write("_shared.ts", "export const x = 2")
    await harness.registry.sync()
    expect(harness.registry.getInfo("a")).toMatchObject({ state: "active", integrity: before })
    expect(harness.errorOf("a")).toMatch(
      new RegExp(
        `^${file} is not what .*/plugins\\.lock says: _shared\\.ts \\(expected [0-9a-f]{12}, found [0-9a-f]{12}\\); ` +
          "restore it, or accept it with `leapgate plugin lock`$",
      ),
    )
    expect(harness.said).toEqual(["a up 1"])
  })

  test("a file that comes in, or is left out, counts as changed", async () => {
    for (const [top, what] of [
      [`import "./_one.ts"; import "./_two.ts"`, "_two.ts (not listed, found "],
      ["", "_one.ts (expected "],
    ]) {
      await using harness = locked()
      harness.write("_one.ts", "export {}")
      harness.write("_two.ts", "export {}")
      harness.write("a.ts", pluginText({ name: "a", top: `import "./_one.ts"` }))
      await writeLock(harness)
      const lockFile = join(harness.directory, "plugins.lock")
      const lock = parseLock(readFileSync(lockFile, "utf8"))
      harness.write("a.ts", pluginText({ name: "a", top: String(top) }))
      // The entry itself is accepted, so that only the other file is left to differ.
      await writeLock(harness)
      const accepted = parseLock(readFileSync(lockFile, "utf8")).plugins.a
      const before = lock.plugins.a
      if (accepted === undefined || before === undefined) throw new Error("the lock lacks the plugin")
      const files = { ...before.files, "a.ts": String(accepted.files["a.ts"]) }
      writeFileSync(lockFile, lockText({ a: { ...before, files } }))
      await harness.registry.loadAll()
      expect(harness.errorOf("a")).toContain(String(what))
    }
  })

  test("a package that is not what it was keeps its plugin from loading", async () => {
    await using harness = locked()
    harness.write("node_modules/tiny/package.json", `{ "name": "tiny", "version": "1.0.0" }`)
    harness.write("node_modules/tiny/index.js", "module.exports = 42")
    harness.write("a.ts", pluginText({ name: "a", top: `import tiny from "tiny"; void tiny` }))
    await writeLock(harness)
    harness.write("node_modules/tiny/index.js", "module.exports = 43")
    await harness.registry.loadAll()
    expect(harness.errorOf("a")).toMatch(/says: tiny@1\.0\.0 \(expected [0-9a-f]{12}, found [0-9a-f]{12}\);/)
  })

  test.each([
    ["missing", undefined, "is missing; write it with `leapgate plugin lock`"],
    ["malformed", "{", "is malformed: "],
  ])("and a lock that is %s nothing of the directory loads, which is told once", async (_, text, message) => {
    await using harness = new Harness({
      isLocked: true,
      bundled: [{ definition: definitionOf("inside"), file: "/nowhere/inside.ts" }],
    })
    harness.entries.inside = {}
    for (const name of ["a", "b"]) harness.write(`${name}.ts`, pluginText({ name }))
    if (text !== undefined) harness.write("plugins.lock", text)
    expect((await harness.registry.loadAll()).active).toEqual(["inside"])
    await harness.registry.sync()
    const lines = harness.log.filter(({ level }) => level === "error")
    expect(lines).toEqual([expect.objectContaining({ reason: expect.stringContaining(message) })])
    expect(harness.errorOf("a")).toContain(message)
    expect(harness.registry.getInfo("inside").integrity).toEqual({ sha256: null, locked: null })
  })

  test("a bundled plugin needs no entry, also where its file lies in the directory", async () => {
    const directory = join(temporaryDirectory(), "plugins")
    mkdirSync(directory)
    const file = join(directory, "inside.ts")
    writeFileSync(file, pluginText({ name: "inside" }))
    writeFileSync(join(directory, "plugins.lock"), lockText({}))
    const bundled = [{ definition: definitionOf("inside"), file }]
    await using harness = new Harness({ isLocked: true, directory, bundled })
    harness.entries.inside = {}
    expect((await harness.registry.loadAll()).active).toEqual(["inside"])
    expect(harness.registry.getInfo("inside").source).toBe(file)
    expect(harness.registry.lockable()).toEqual([])
  })

  test("a lock that changes lets in what it newly allows, and reloads nothing else", async () => {
    await using harness = locked()
    harness.write("a.ts", pluginText({ name: "a" }))
    await writeLock(harness)
    harness.write("b.ts", pluginText({ name: "b" }))
    await harness.registry.loadAll()
    expect(harness.stateOf("b")).toBe("error")
    await writeLock(harness)
    await harness.registry.sync()
    expect(harness.said).toEqual(["a up 1", "b up 1"])
    expect(harness.registry.getInfo("b")).toMatchObject({ state: "active", error: null })
  })

  test("a lock that is deleted stops nothing that serves, and one that comes back lets changes in again", async () => {
    await using harness = locked()
    harness.write("a.ts", pluginText({ name: "a", version: "1.0.0" }))
    await writeLock(harness)
    await harness.registry.loadAll()
    rmSync(join(harness.directory, "plugins.lock"))
    harness.write("a.ts", pluginText({ name: "a", version: "2.0.0" }))
    await harness.registry.sync()
    expect(harness.versionOf("a")).toBe("1.0.0")
    await writeLock(harness)
    await harness.registry.sync()
    expect(harness.versionOf("a")).toBe("2.0.0")
  })

  test("a plugin that is registered by a path outside the directory is refused", async () => {
    await using harness = locked()
    await writeLock(harness)
    const outside = join(harness.directory, "../other")
    mkdirSync(outside)
    writeFileSync(join(outside, "a.ts"), pluginText({ name: "a" }))
    await expect(harness.registry.register(join(outside, "a.ts"))).rejects.toMatchObject({
      code: "plugin_integrity",
    })
  })
})

describe("without plugins.locked", () => {
  test("everything loads, and whether it is as the lock says is told", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a" }))
    await harness.registry.loadAll()
    expect(harness.registry.getInfo("a").integrity.locked).toBe(null)
    await writeLock(harness)
    await harness.registry.sync()
    expect(harness.registry.getInfo("a").integrity.locked).toBe(true)
    harness.write("a.ts", pluginText({ name: "a", version: "2.0.0" }))
    await harness.registry.sync()
    expect(harness.registry.getInfo("a").integrity.locked).toBe(false)
    expect(harness.versionOf("a")).toBe("2.0.0")
  })
})

function definitionOf(name: string) {
  return { name, version: "1.0.0", type: "monitoring", setup: () => ({}) } as const
}
