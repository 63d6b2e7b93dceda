import { describe, expect, test } from "bun:test"
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { findPackage, parsePackage } from "../../src/source/packages.ts"
import { Harness, pluginText as pluginSource, temporaryDirectory } from "../plugin/fixtures.ts"

/** As packages are published: in JavaScript. */
const pluginText = (text: Parameters<typeof pluginSource>[0]) =>
  new Bun.Transpiler({ loader: "ts" }).transformSync(pluginSource(text))

interface PackageText {
  readonly name: string
  readonly version?: string
  readonly manifest?: Readonly<Record<string, unknown>>
  readonly files?: Readonly<Record<string, string>>
}

/** Lays a package into the directory's node_modules, as a package manager does. */
function install(
  harness: Harness,
  { name, version = "1.0.0", manifest = {}, files = {} }: PackageText,
): void {
  const folder = `node_modules/${name}`
  harness.write(`${folder}/package.json`, JSON.stringify({ name, version, ...manifest }))
  for (const [file, text] of Object.entries(files)) harness.write(`${folder}/${file}`, text)
}

const geo = (version = "1.0.0") => ({ "index.js": pluginText({ name: "geo", version }) })

describe("a package in plugins.packages", () => {
  test("loads like a plugin of the directory, from its entry file", async () => {
    await using harness = new Harness()
    install(harness, { name: "leapgate-plugin-geo", files: geo() })
    harness.packages.push("leapgate-plugin-geo@1.0.0")
    await harness.registry.loadAll()
    expect(harness.registry.getInfo("geo")).toMatchObject({
      state: "active",
      enabled: true,
      bundled: false,
      source: join(harness.directory, "node_modules/leapgate-plugin-geo/index.js"),
    })
  })

  test("is switched off by the configuration like any other", async () => {
    await using harness = new Harness()
    harness.entries.geo = { enabled: false }
    install(harness, { name: "leapgate-plugin-geo", files: geo() })
    harness.packages.push("leapgate-plugin-geo@1.0.0")
    expect((await harness.registry.loadAll()).disabled).toEqual(["geo"])
  })

  test("may have files of its own, packages beside it, and packages inside it", async () => {
    await using harness = new Harness()
    const top = `import { a } from "./lib/a.js"; import one from "one"; import two from "two"`
    const index = pluginText({ name: "geo", top, setup: `say("sum", a + one + two)` })
    install(harness, {
      name: "@scope/geo",
      files: {
        "index.js": index,
        "lib/a.js": "export const a = 1",
        "node_modules/two/index.js": "module.exports = 100",
      },
    })
    install(harness, { name: "one", files: { "index.js": "module.exports = 10" } })
    harness.packages.push("@scope/geo@1.0.0")
    await harness.registry.loadAll()
    expect(harness.said).toContain("sum 111")
    const [locked] = harness.registry.lockable()
    expect(locked?.entry).toMatchObject({ version: "1.0.0", source: "package:@scope/geo" })
    expect(Object.keys(locked?.entry?.files ?? {})).toEqual(["index.js", "lib/a.js"])
    expect(Object.keys(locked?.entry?.packages ?? {})).toEqual(["one@1.0.0", "two"])
  })

  test("may not take files of the directory", async () => {
    await using harness = new Harness()
    harness.write("_shared.ts", "export {}")
    install(harness, {
      name: "geo",
      files: { "index.js": pluginText({ name: "geo", top: `import "../../_shared.ts"` }) },
    })
    harness.packages.push("geo@1.0.0")
    await harness.registry.loadAll()
    expect(harness.errorOf("geo")).toContain(`imports "../../_shared.ts"`)
  })

  test("that is not there is an error with the command that brings it", async () => {
    await using harness = new Harness()
    harness.packages.push("@scope/geo@1.2.3")
    await harness.registry.loadAll()
    const home = join(harness.directory, "node_modules/@scope/geo")
    expect(harness.registry.getInfo("scope-geo")).toMatchObject({
      state: "error",
      source: home,
      error: {
        code: "plugin_load_failed",
        message: `package "@scope/geo" is not in ${home}; run \`leapgate plugin install @scope/geo@1.2.3\``,
      },
    })
  })

  test("that is there in another version is an error that says which, and the next look finds the right one", async () => {
    await using harness = new Harness()
    install(harness, { name: "geo", version: "1.0.0", files: geo("1.0.0") })
    harness.packages.push("geo@2.0.0")
    await harness.registry.loadAll()
    expect(harness.errorOf("geo")).toBe(
      'package "geo" is there in version 1.0.0, and plugins.packages wants 2.0.0; run `leapgate plugin install geo@2.0.0`, or change plugins.packages',
    )
    install(harness, { name: "geo", version: "2.0.0", files: geo("2.0.0") })
    await harness.registry.sync()
    expect(harness.versionOf("geo")).toBe("2.0.0")
    expect(harness.registry.list()).toHaveLength(1)
  })

  test("serves on in its old version while the wanted one is not there", async () => {
    await using harness = new Harness()
    install(harness, { name: "geo", version: "1.0.0", files: geo("1.0.0") })
    harness.packages.push("geo@1.0.0")
    await harness.registry.loadAll()
    harness.packages[0] = "geo@2.0.0"
    await harness.registry.sync()
    expect(harness.versionOf("geo")).toBe("1.0.0")
    expect(harness.errorOf("geo")).toContain("plugins.packages wants 2.0.0")
    install(harness, {
      name: "geo",
      version: "2.0.0",
      manifest: { main: "other.js" },
      files: { "other.js": pluginText({ name: "geo", version: "2.0.0" }) },
    })
    await harness.registry.sync()
    expect(harness.versionOf("geo")).toBe("2.0.0")
    expect(harness.snapshots.map(({ instances }) => instances.length)).toEqual([1, 1])
  })

  test("is reloaded where its content changes, and not otherwise", async () => {
    await using harness = new Harness()
    install(harness, { name: "geo", files: geo("1.0.0") })
    harness.packages.push("geo@1.0.0")
    await harness.registry.loadAll()
    install(harness, { name: "geo", files: geo("1.0.0") })
    await harness.registry.sync()
    expect(harness.said).toEqual(["geo up 1"])
    install(harness, { name: "geo", files: geo("1.0.1") })
    await harness.registry.sync()
    expect(harness.versionOf("geo")).toBe("1.0.1")
  })

  test("goes when it is taken out, and comes when it is put in", async () => {
    await using harness = new Harness()
    install(harness, { name: "geo", files: geo() })
    await harness.registry.loadAll()
    expect(harness.registry.list()).toEqual([])
    harness.packages.push("geo@1.0.0")
    await harness.registry.sync()
    expect(harness.stateOf("geo")).toBe("active")
    harness.packages.pop()
    await harness.registry.sync()
    expect(harness.registry.list()).toEqual([])
    expect(harness.said).toContain("geo gone 1")
  })

  test("that is a link to a folder elsewhere is refused", async () => {
    await using harness = new Harness()
    const outside = join(temporaryDirectory(), "geo")
    mkdirSync(outside)
    writeFileSync(join(outside, "package.json"), `{ "name": "geo", "version": "1.0.0" }`)
    writeFileSync(join(outside, "index.js"), pluginText({ name: "geo" }))
    mkdirSync(join(harness.directory, "node_modules"))
    symlinkSync(outside, join(harness.directory, "node_modules/geo"))
    harness.packages.push("geo@1.0.0")
    await harness.registry.loadAll()
    expect(harness.errorOf("geo")).toContain(`is a link to ${outside}, outside the plugin directory`)
  })

  test.each(["../../x.js", "missing.js", "lib"])("whose entry is %s is refused", async (main) => {
    await using harness = new Harness()
    harness.write("x.js", pluginText({ name: "x" }))
    harness.write("node_modules/geo/lib/a.js", "")
    install(harness, { name: "geo", manifest: { main } })
    harness.packages.push("geo@1.0.0")
    await harness.registry.loadAll()
    expect(harness.errorOf("geo")).toContain('package "geo" has no entry file at ')
  })
})

test.each([
  [{ exports: "./e.js", main: "m.js" }, "e.js"],
  [{ exports: { ".": "./e.js" } }, "e.js"],
  [{ exports: { import: "./e.js", require: "./r.js" } }, "e.js"],
  [{ exports: { ".": { types: "./e.d.ts", require: "./r.js", default: "./e.js" } } }, "e.js"],
  [{ exports: { ".": { import: { types: "./e.d.ts", default: "./e.js" } } } }, "e.js"],
  [{ exports: { "./more": "./x.js" }, module: "e.js", main: "m.js" }, "e.js"],
  [{ main: "e.js" }, "e.js"],
  [{}, "index.js"],
])("the entry of %j is %s", async (manifest, entry) => {
  await using harness = new Harness()
  install(harness, { name: "geo", manifest, files: { [entry]: "" } })
  const { file, package: found } = await findPackage(harness.directory, "geo@1.0.0")
  expect(found.obstacle).toBeUndefined()
  expect(file).toBe(join(harness.directory, "node_modules/geo", entry))
})

test.each([
  "geo",
  "geo@",
  "../geo@1.0.0",
  "/etc@1.0.0",
  "@scope/../x@1.0.0",
  "a/b@1.0.0",
  ".x@1.0.0",
  "@a/.b@1.0.0",
])("%j is no package", (spec) => {
  expect(parsePackage(spec)).toBeUndefined()
})
