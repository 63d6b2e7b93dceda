import { expect, test } from "bun:test"
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { discoverPlugins, pluginAt } from "../../src/source/discover.ts"
import { temporaryDirectory } from "../plugin/fixtures.ts"

function directoryWith(files: Readonly<Record<string, string>> | readonly string[]): string {
  const directory = temporaryDirectory()
  const texts = Array.isArray(files)
    ? files.map((file): [string, string] => [file, ""])
    : Object.entries(files)
  for (const [file, text] of texts) {
    mkdirSync(dirname(join(directory, file)), { recursive: true })
    writeFileSync(join(directory, file), text)
  }
  return directory
}

async function found(directory: string): Promise<Record<string, string>> {
  const plugins = await discoverPlugins(directory)
  return Object.fromEntries(plugins.map(({ file, name }) => [relative(directory, file), name]))
}

test("script files are plugins, named after the file with dashes", async () => {
  const directory = directoryWith(["rate_limiter.ts", "b.js", "c.mts", "d.mjs", "notes.md", "data.json"])
  expect(await found(directory)).toEqual({
    "b.js": "b",
    "c.mts": "c",
    "d.mjs": "d",
    "rate_limiter.ts": "rate-limiter",
  })
})

test("helpers, tests, declarations, hidden files and packages are not plugins", async () => {
  const directory = directoryWith([
    "_shared.ts",
    "a.test.ts",
    "a.spec.mjs",
    "types.d.ts",
    ".hidden.ts",
    "_lib/index.ts",
    "node_modules/x/index.js",
  ])
  expect(await found(directory)).toEqual({})
})

test("a folder with an entry file is one plugin, named after the folder", async () => {
  const directory = directoryWith({
    "one/index.ts": "",
    "one/helper.ts": "",
    "two/plugin.ts": "",
    "three/package.json": `{ "main": "src/start.ts" }`,
    "three/src/start.ts": "",
    "three/index.ts": "",
  })
  expect(await found(directory)).toEqual({
    "one/index.ts": "one",
    "three/src/start.ts": "three",
    "two/plugin.ts": "two",
  })
})

test("a folder without an entry file is searched, one level deep", async () => {
  const directory = directoryWith([
    "group/a.ts",
    "group/b/index.ts",
    "group/b/helper.ts",
    "group/deeper/c.ts",
    "group/_helper.ts",
  ])
  expect(await found(directory)).toEqual({ "group/a.ts": "a", "group/b/index.ts": "b" })
})

test("a package.json without main, or one that is half written, is no entry", async () => {
  const directory = directoryWith({
    "a/package.json": `{ "name": "a" }`,
    "a/index.ts": "",
    "b/package.json": `{ "main`,
    "b/index.ts": "",
  })
  expect(await found(directory)).toEqual({ "a/index.ts": "a", "b/index.ts": "b" })
})

test("symbolic links are followed, and their target is told", async () => {
  const target = directoryWith(["real.ts"])
  const directory = temporaryDirectory()
  symlinkSync(join(target, "real.ts"), join(directory, "linked.ts"))
  symlinkSync(join(directory, "nowhere"), join(directory, "dangling.ts"))
  const file = join(directory, "linked.ts")
  expect(await discoverPlugins(directory)).toEqual([
    { name: "linked", path: file, file, realPath: join(target, "real.ts") },
  ])
})

test("a missing directory holds no plugins", async () => {
  expect(await discoverPlugins(join(temporaryDirectory(), "missing"))).toEqual([])
})

test("a path leads to the plugin in a file or folder, or to none", async () => {
  const directory = directoryWith(["a.ts", "folder/index.ts", "empty/readme.md"])
  expect((await pluginAt(join(directory, "a.ts")))?.name).toBe("a")
  expect((await pluginAt(join(directory, "folder")))?.file).toBe(join(directory, "folder/index.ts"))
  expect(await pluginAt(join(directory, "empty"))).toBeUndefined()
  expect(await pluginAt(join(directory, "missing.ts"))).toBeUndefined()
})
