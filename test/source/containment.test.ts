import { describe, expect, test } from "bun:test"
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { containmentIn } from "../../src/source/containment.ts"
import { Harness, pluginText, temporaryDirectory } from "../plugin/fixtures.ts"

/** Writes files into a folder that no plugin may take from; returns it. */
function outsideWith(files: Readonly<Record<string, string>>): string {
  const directory = temporaryDirectory()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  return directory
}

async function errorOfImport(line: string, link?: (harness: Harness) => void) {
  await using harness = new Harness()
  link?.(harness)
  const file = harness.write("a.ts", pluginText({ name: "a", top: `\n${line}` }))
  await harness.registry.loadAll()
  return { file, home: harness.directory, error: harness.registry.getInfo("a").error, log: harness.log }
}

describe("a plugin of the directory is refused", () => {
  test("where it imports a file outside, and told which import that is", async () => {
    const outside = outsideWith({ "x.ts": "export const x = 1" })
    const { file, home, error } = await errorOfImport(`import { x } from "${outside}/x.ts"; void x`)
    const message = `imports "${outside}/x.ts", which is ${outside}/x.ts, outside ${home}, which a plugin may not leave; copy it there, or make a package of it`
    expect(error).toMatchObject({
      code: "plugin_load_failed",
      message: `${file}:3:20: ${message}`,
      details: { errors: [{ file, line: 3, column: 20, message }] },
    })
  })

  test("where the import climbs out of it", async () => {
    await using harness = new Harness()
    writeFileSync(join(dirname(harness.directory), "above.ts"), "export const x = 1")
    harness.write("group/a.ts", pluginText({ name: "a", top: `import { x } from "../../above.ts"; void x` }))
    await harness.registry.loadAll()
    expect(harness.errorOf("a")).toContain('imports "../../above.ts", which is ')
  })

  test("where a link leads outside, although its name does not", async () => {
    const outside = outsideWith({ "x.ts": "export const x = 1" })
    const { error } = await errorOfImport(`import { x } from "./_link.ts"; void x`, ({ directory }) =>
      symlinkSync(join(outside, "x.ts"), join(directory, "_link.ts")),
    )
    expect(error?.message).toContain(`imports "./_link.ts", which is ${outside}/x.ts, outside `)
  })

  test("where it takes a file as text, by require, or from a helper", async () => {
    const outside = outsideWith({ "secret.txt": "s3cret", "x.ts": "export const x = 1" })
    for (const line of [
      `import text from "${outside}/secret.txt" with { type: "text" }; void text`,
      `import text from "${outside}/secret.txt"; void text`,
      `const x = require("${outside}/x.ts"); void x`,
      `const x = import("${outside}/x.ts"); void x`,
    ]) {
      const { error, log } = await errorOfImport(line)
      expect(error?.message).toContain(`, outside `)
      expect(JSON.stringify(log)).not.toContain("s3cret")
    }
    const { error } = await errorOfImport(`import { x } from "./_helper.ts"; void x`, (harness) =>
      harness.write("_helper.ts", `export { x } from "${outside}/x.ts"`),
    )
    expect(error?.message).toContain(`_helper.ts:1:20: imports "${outside}/x.ts"`)
  })

  test("where it is a link to a file or folder outside itself", async () => {
    await using harness = new Harness()
    const outside = outsideWith({
      "a.ts": pluginText({ name: "a" }),
      "folder/index.ts": pluginText({ name: "b" }),
    })
    symlinkSync(join(outside, "a.ts"), join(harness.directory, "a.ts"))
    symlinkSync(join(outside, "folder"), join(harness.directory, "folder"))
    expect((await harness.registry.loadAll()).active).toEqual([])
    expect(harness.errorOf("a")).toStartWith(
      `${harness.directory}/a.ts leads to ${outside}/a.ts, outside ${harness.directory}, `,
    )
    expect(harness.errorOf("folder")).toContain(`leads to ${outside}/folder/index.ts, outside `)
  })

  test("where its package.json names an entry outside", async () => {
    await using harness = new Harness()
    writeFileSync(join(dirname(harness.directory), "above.ts"), pluginText({ name: "above" }))
    harness.write("folder/package.json", `{ "main": "../../above.ts" }`)
    expect((await harness.registry.loadAll()).active).toEqual([])
    expect(harness.errorOf("folder")).toContain("outside ")
  })

  test("where a package is linked from elsewhere", async () => {
    const outside = outsideWith({ "tiny/package.json": "{}", "tiny/index.js": "module.exports = 1" })
    const { error } = await errorOfImport(`import tiny from "tiny"; void tiny`, ({ directory }) => {
      mkdirSync(join(directory, "node_modules"))
      symlinkSync(join(outside, "tiny"), join(directory, "node_modules/tiny"))
    })
    expect(error?.message).toContain(`imports "tiny", which is ${outside}/tiny/index.js, outside `)
  })

  test("and what served before serves on", async () => {
    const outside = outsideWith({ "x.ts": "export const x = 1" })
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a", version: "1.0.0" }))
    await harness.registry.loadAll()
    const top = `import { x } from "${outside}/x.ts"; void x`
    harness.write("a.ts", pluginText({ name: "a", version: "2.0.0", top }))
    await harness.registry.sync()
    expect(harness.versionOf("a")).toBe("1.0.0")
    expect(harness.errorOf("a")).toContain("outside")
  })
})

describe("a plugin of the directory may", () => {
  test("be a link, or lie in a linked folder, where that leads to the same directory", async () => {
    await using harness = new Harness()
    harness.write(".versions/1/a.ts", pluginText({ name: "a", top: `import { b } from "./_b.ts"; void b` }))
    harness.write(".versions/1/_b.ts", "export const b = 1")
    symlinkSync(".versions/1/a.ts", join(harness.directory, "a.ts"))
    expect((await harness.registry.loadAll()).active).toEqual(["a"])
  })

  test("lie in a directory that is a link itself", async () => {
    const real = outsideWith({ "a.ts": pluginText({ name: "a" }) })
    const link = join(temporaryDirectory(), "plugins")
    symlinkSync(real, link)
    await using harness = new Harness({ directory: link })
    expect((await harness.registry.loadAll()).active).toEqual(["a"])
  })

  test("come from a Kubernetes mount, which swaps a link to change all files at once", async () => {
    await using harness = new Harness()
    const { directory } = harness
    const version = (folder: string, text: string) => {
      harness.write(`${folder}/a.ts`, pluginText({ name: "a", version: text, top: `import "./_b.ts"` }))
      harness.write(`${folder}/_b.ts`, "export {}")
      symlinkSync(folder, join(directory, "..data_tmp"))
      renameSync(join(directory, "..data_tmp"), join(directory, "..data"))
    }
    version("..2026_01_01_10_00_00.1", "1.0.0")
    symlinkSync("..data/a.ts", join(directory, "a.ts"))
    symlinkSync("..data/_b.ts", join(directory, "_b.ts"))
    await harness.registry.loadAll()
    expect(harness.versionOf("a")).toBe("1.0.0")
    const [locked] = harness.registry.lockable()
    expect(Object.keys(locked?.entry?.files ?? {})).toEqual(["_b.ts", "a.ts"])

    version("..2026_01_02_10_00_00.2", "2.0.0")
    rmSync(join(directory, "..2026_01_01_10_00_00.1"), { recursive: true })
    await harness.registry.sync()
    expect(harness.versionOf("a")).toBe("2.0.0")
    expect(harness.errorOf("a")).toBe("")
  })

  test("use packages of a node_modules above the directory", async () => {
    await using harness = new Harness()
    const packages = join(dirname(harness.directory), "node_modules/tiny")
    mkdirSync(packages, { recursive: true })
    writeFileSync(join(packages, "package.json"), `{ "name": "tiny", "version": "1.0.0" }`)
    writeFileSync(join(packages, "index.js"), "module.exports = 42")
    harness.write(
      "a.ts",
      pluginText({ name: "a", top: `import tiny from "tiny"`, setup: `say("tiny", tiny)` }),
    )
    await harness.registry.loadAll()
    expect(harness.said).toContain("tiny 42")
  })
})

describe("a plugin that is registered by its path", () => {
  test("has its own folder to itself", async () => {
    await using harness = new Harness()
    const outside = outsideWith({
      "mine/index.ts": pluginText({ name: "mine", top: `import { b } from "./lib/b.ts"; void b` }),
      "mine/lib/b.ts": "export const b = 1",
    })
    expect(await harness.registry.register(join(outside, "mine"))).toMatchObject({ state: "active" })
  })

  test("may not leave it", async () => {
    await using harness = new Harness()
    const outside = outsideWith({
      "mine/index.ts": pluginText({ name: "mine", top: `import { b } from "../b.ts"; void b` }),
      "b.ts": "export const b = 1",
    })
    await expect(harness.registry.register(join(outside, "mine"))).rejects.toThrow(`outside ${outside}/mine`)
    await expect(harness.registry.register(join(outside, "mine/index.ts"))).rejects.toThrow(
      `outside ${outside}/mine`,
    )
  })

  test("belongs to the directory where it lies in that", async () => {
    await using harness = new Harness()
    harness.write("_shared.ts", "export const b = 1")
    const file = harness.write("a/index.ts", pluginText({ name: "a", top: `import "../_shared.ts"` }))
    expect(await harness.registry.register(file)).toMatchObject({ state: "active" })
  })
})

test("a folder whose name only starts like the home is outside", () => {
  const directory = temporaryDirectory()
  mkdirSync(join(directory, "plugins"))
  const { placeOf } = containmentIn(join(directory, "plugins"))
  expect(placeOf(join(directory, "plugins/a.ts"))).toBe("own")
  expect(placeOf(join(directory, "plugins-old/a.ts"))).toBe("outside")
  expect(placeOf(join(directory, "plugins/node_modules/x/i.js"))).toBe("package")
  expect(placeOf(join(directory, "node_modules/x/i.js"))).toBe("package")
  expect(placeOf("/etc/passwd")).toBe("outside")
})
