import { describe, expect, test } from "bun:test"
import { symlinkSync } from "node:fs"
import { join } from "node:path"
import packageJson from "../../package.json" with { type: "json" }
import { REPOSITORY } from "../docs/page.ts"
import { newAuthor } from "./author.ts"

const MANIFEST = "plugins/node_modules/leapgate/package.json"
const TYPEBOX = "plugins/node_modules/@sinclair/typebox/package.json"

describe("plugin types", () => {
  test("writes the SDK once", async () => {
    const author = newAuthor()
    const first = await author.plugin("types")
    expect(first.out.split("\n")).toEqual([
      expect.stringMatching(/^wrote the SDK \S+ in \S+node_modules\/leapgate$/),
      expect.stringMatching(/^wrote \S+plugins\/tsconfig\.json$/),
    ])
    const again = await author.plugin("types")
    expect(again.out).toMatch(/^the SDK \S+ in \S+plugins is up to date$/)
    expect(JSON.parse(author.read(MANIFEST)).version).toBe(packageJson.version)
  })

  test("replaces the SDK of another version, and leaves no file of it", async () => {
    const author = newAuthor()
    await author.plugin("types")
    const manifest = JSON.parse(author.read(MANIFEST))
    author.write(MANIFEST, JSON.stringify({ ...manifest, version: "0.0.1", leapgate: { sdk: "old" } }))
    author.write("plugins/node_modules/leapgate/old.js", "")
    expect((await author.plugin("types")).out).toContain(
      `replaced the one of 0.0.1 by the SDK ${packageJson.version}`,
    )
    expect(JSON.parse(author.read(MANIFEST))).toEqual(manifest)
    expect(author.has("plugins/node_modules/leapgate/old.js")).toBe(false)
  })

  test("leaves what others have put there", async () => {
    const author = newAuthor()
    author.write("plugins/tsconfig.json", "{}")
    author.write(TYPEBOX, JSON.stringify({ name: "@sinclair/typebox", version: "0.33.0" }))
    expect((await author.plugin("types")).exitCode).toBe(0)
    expect(author.read("plugins/tsconfig.json")).toBe("{}")
    expect(JSON.parse(author.read(TYPEBOX)).version).toBe("0.33.0")
    expect(author.has("plugins/node_modules/leapgate/node_modules/@sinclair/typebox/types/index.d.mts")).toBe(
      true,
    )
    expect((await author.plugin("types")).out).toContain("is up to date")
  })

  test("uses the author's TypeBox where it is of the same version", async () => {
    const author = newAuthor()
    const version = packageJson.dependencies["@sinclair/typebox"]
    author.write(TYPEBOX, JSON.stringify({ name: "@sinclair/typebox", version }))
    await author.plugin("types")
    expect(author.has("plugins/node_modules/@sinclair/typebox/types")).toBe(false)
    expect(author.has("plugins/node_modules/leapgate/node_modules")).toBe(false)
  })

  test("refuses to replace a package that it did not write", async () => {
    const author = newAuthor()
    author.write(MANIFEST, '{ "name": "leapgate" }')
    const { exitCode, err } = await author.plugin("types")
    expect({ exitCode, err }).toEqual({ exitCode: 1, err: expect.stringContaining("remove it first") })
  })

  test("writes nothing in LeapGate's own repository", async () => {
    const author = newAuthor()
    symlinkSync(join(REPOSITORY, "package.json"), join(author.directory, "package.json"))
    const { out } = await author.plugin("types")
    expect(out).toBe("the types are there already: these plugins are in LeapGate's repository")
    expect(author.has("plugins")).toBe(false)
  })
})

test("the gateway takes nothing of the SDK for a plugin", async () => {
  const author = newAuthor()
  await author.plugin("types")
  const { out, exitCode } = await author.plugin("list", "--json")
  const sources = (JSON.parse(out) as { source: string }[]).map(({ source }) => source)
  expect(exitCode).toBe(0)
  expect(sources.filter((source) => !source.startsWith("bundled:"))).toEqual([])
})
