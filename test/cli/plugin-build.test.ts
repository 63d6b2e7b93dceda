import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { type Author, newAuthor } from "./author.ts"

/** A plugin with a package of npm and a file of its own. */
function writePlugin(author: Author): void {
  author.write(
    "plugins/node_modules/left/package.json",
    '{ "name": "left", "version": "1.0.0", "main": "index.js" }',
  )
  author.write("plugins/node_modules/left/index.js", "module.exports.left = () => 'from a package'")
  author.write("plugins/_own.ts", "export const own = 'from a file'")
  author.write(
    "plugins/greeter.ts",
    `import { definePlugin, Type } from "leapgate/plugin"
import { left } from "left"
import { own } from "./_own.ts"
export default definePlugin({
  name: "greeter", version: "1.2.3", type: "middleware", config: Type.Object({}),
  setup: () => ({ beforeHandle({ setHeader }) { setHeader("x-left", left() + ", " + own) } }),
})`,
  )
}

describe("plugin build", () => {
  test("makes one file that another gateway loads", async () => {
    const author = newAuthor()
    writePlugin(author)
    const { exitCode, out } = await author.plugin("build", "greeter")
    expect(exitCode).toBe(0)
    const bundle = author.read("dist/greeter.mjs")
    expect(out.split("\n")).toEqual([
      "greeter 1.2.3 → dist/greeter.mjs",
      `${bundle.length} bytes`,
      `sha256 ${createHash("sha256").update(bundle).digest("hex")}`,
    ])
    expect(bundle).toContain("from a package")
    expect(bundle).toMatch(/from\s*"leapgate\/plugin"/)
    expect(bundle).toContain("sourceMappingURL=data:")

    const other = newAuthor()
    other.write("plugins/greeter.mjs", bundle)
    const listed = JSON.parse((await other.plugin("list", "--json")).out) as {
      name: string
      error?: string
    }[]
    expect(listed.find(({ name }) => name === "greeter")).toMatchObject({
      version: "1.2.3",
      type: "middleware",
    })
  })

  test("makes the same bytes of the same source, wherever it lies", async () => {
    const [one, other] = [newAuthor(), newAuthor()]
    for (const author of [one, other]) {
      writePlugin(author)
      await author.plugin("build", "plugins/greeter.ts", "--out", "out/a.mjs")
    }
    expect(one.read("out/a.mjs")).toBe(other.read("out/a.mjs"))
  })

  test("says what is wrong", async () => {
    const author = newAuthor()
    author.write("plugins/broken.ts", "export default {{{")
    expect(await author.plugin("build", "broken")).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining("broken.ts:1:17"),
    })
    author.write("plugins/none.ts", "export const a = 1")
    expect(await author.plugin("build", "none")).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining("no default export"),
    })
    const source = author.write(
      "plugins/same.mjs",
      'export default { name: "same", version: "1.0.0", type: "monitoring", setup: () => ({}) }',
    )
    const before = readFileSync(source, "utf8")
    expect(await author.plugin("build", "same", "--out", join("plugins", "same.mjs"))).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining("is the plugin's own source"),
    })
    expect(readFileSync(source, "utf8")).toBe(before)
  })

  test("says where it may not write, and not where in the program that was noticed", async () => {
    const author = newAuthor()
    writePlugin(author)
    const { exitCode, err } = await author.plugin("build", "greeter", "--out", "plugins")
    expect(exitCode).toBe(1)
    expect(err).toMatch(/^error: EISDIR: [^\n]+plugins'\ncode: EISDIR$/)
  })

  test("refuses a plugin that needs more than one file", async () => {
    const author = newAuthor()
    author.write("plugins/data.bin", "x".repeat(10))
    author.write(
      "plugins/heavy.ts",
      `import path from "./data.bin" with { type: "file" }
export default { name: "heavy", version: "1.0.0", type: "monitoring", metadata: { path }, setup: () => ({}) }`,
    )
    const { exitCode, err } = await author.plugin("build", "heavy")
    expect({ exitCode, err }).toEqual({ exitCode: 1, err: expect.stringMatching(/also needs data-\w+\.bin/) })
  })
})
