import { expect, test } from "bun:test"
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { GatewayError } from "../../src/errors.ts"
import { PluginBuilder } from "../../src/source/build.ts"
import { hashOf } from "../../src/source/source-print.ts"
import { temporaryDirectory } from "../plugin/fixtures.ts"

function directoryWith(files: Readonly<Record<string, string>>): string {
  const directory = temporaryDirectory()
  for (const [file, text] of Object.entries(files)) writeFileSync(join(directory, file), text)
  return directory
}

const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex")

/** Builds in a builder of its own, which is closed after the test. */
async function withBuilder<T>(use: (builder: PluginBuilder) => Promise<T>): Promise<T> {
  const builder = new PluginBuilder()
  try {
    return await use(builder)
  } finally {
    await builder.close()
  }
}

async function errorOf(file: string): Promise<GatewayError> {
  const thrown = await withBuilder((builder) => builder.build(file)).catch((error) => error)
  if (!(thrown instanceof GatewayError))
    throw new Error("the build did not fail as it should", { cause: thrown })
  return thrown
}

test("a build tells which of the plugin's own files went into it", async () => {
  const directory = directoryWith({
    "a.ts": `import { b } from "./b.ts"\nimport { Type } from "leapgate/plugin"\nexport default { b, Type }`,
    "b.ts": `export * from "./c.ts"`,
    "c.ts": "export const b = 1",
  })
  const { inputs } = await withBuilder((builder) => builder.build(join(directory, "a.ts")))
  expect(inputs).toEqual(
    ["a.ts", "b.ts", "c.ts"].map((name) => {
      const file = join(directory, name)
      return { file, name, sha256: sha256(readFileSync(file, "utf8")) }
    }),
  )
})

test("artefacts lie in a directory that only this user can enter, and go when the builder is closed", async () => {
  const directory = directoryWith({ "a.ts": "export default 1" })
  const builder = new PluginBuilder()
  const { artefact } = await builder.build(join(directory, "a.ts"))
  const cache = dirname(dirname(artefact))
  expect(statSync(cache).mode & 0o777).toBe(0o700)
  await builder.close()
  expect(existsSync(cache)).toBe(false)
})

test("a plugin has four artefact paths and no more, and those that are needed are left alone", async () => {
  const directory = directoryWith({ "a.ts": "export default 1" })
  const file = join(directory, "a.ts")
  await withBuilder(async (builder) => {
    const kept: string[] = []
    for (let count = 0; count < 4; count++) kept.push((await builder.build(file, kept)).artefact)
    expect(new Set(kept).size).toBe(4)
    for (const free of kept) {
      const others = kept.filter((artefact) => artefact !== free)
      expect((await builder.build(file, others)).artefact).toBe(free)
    }
  })
})

test("plugins in files of the same name do not share an artefact", async () => {
  const files = [directoryWith({ "a.ts": "export default 1" }), directoryWith({ "a.ts": "export default 2" })]
  await withBuilder(async (builder) => {
    const [one, two] = await Promise.all(files.map((directory) => builder.build(join(directory, "a.ts"))))
    expect(one?.artefact).not.toBe(two?.artefact)
  })
})

test("a syntax error is told with file, line and column", async () => {
  const directory = directoryWith({ "a.ts": "const ok = 1\nexport default {\n  name: ,\n}" })
  const error = await errorOf(join(directory, "a.ts"))
  expect(error.code).toBe("plugin_load_failed")
  expect(error.message).toStartWith(`${join(directory, "a.ts")}:3:9: `)
  expect(error.details).toEqual({
    errors: [{ file: join(directory, "a.ts"), line: 3, column: 9, message: expect.any(String) }],
  })
})

test("every fault is told, also those in helper files", async () => {
  const directory = directoryWith({
    "a.ts": `import "./b.ts"\nimport "./c.ts"\nexport default 1`,
    "b.ts": "const b = ;",
    "c.ts": "const c = ;",
  })
  const { details, message } = await errorOf(join(directory, "a.ts"))
  const { errors } = details as { errors: { file: string }[] }
  expect(errors.map(({ file }) => file).sort()).toEqual(["b.ts", "c.ts"].map((file) => join(directory, file)))
  expect(message).toEndWith("(and 1 more)")
})

test("a package that is not installed is an error that names it, never a download", async () => {
  const directory = directoryWith({ "a.ts": `import x from "package-that-is-not-there"\nexport default x` })
  expect((await errorOf(join(directory, "a.ts"))).message).toContain(
    'a.ts:1:15: Could not resolve: "package-that-',
  )
})

test("a missing entry file is an error that names it", async () => {
  const file = join(temporaryDirectory(), "gone.ts")
  expect((await errorOf(file)).message).toContain(file)
})

const sourcesIn = (directory: string, ...names: readonly string[]) =>
  names.map((name) => ({ name, file: join(directory, name) }))

test("the hash follows the content of every file, and sees a file go", async () => {
  const directory = directoryWith({ "a.ts": "1", "b.ts": "2" })
  const files = sourcesIn(directory, "a.ts", "b.ts")
  const before = await hashOf(files)
  writeFileSync(join(directory, "b.ts"), "2")
  expect(await hashOf(files)).toBe(before)
  writeFileSync(join(directory, "b.ts"), "3")
  const after = await hashOf(files)
  expect(after).not.toBe(before)
  rmSync(join(directory, "b.ts"))
  expect(await hashOf(files)).not.toBe(after)
})

test("the hash is the same in every directory, and another where content moves from file to file", async () => {
  const hashIn = (files: Readonly<Record<string, string>>) =>
    hashOf(sourcesIn(directoryWith(files), "a.ts", "b.ts"))
  const before = await hashIn({ "a.ts": "12", "b.ts": "" })
  expect(await hashIn({ "a.ts": "12", "b.ts": "" })).toBe(before)
  expect(await hashIn({ "a.ts": "1", "b.ts": "2" })).not.toBe(before)
})

test.each([
  ["code", "a.ts", (round: number) => `export default ${round}`],
  ["a text that is imported as such", "_note.sql", (round: number) => `_default = ${round}`],
])(
  "the hash of %s is that of what was bundled, also where it changes during the build",
  async (_, name, textOf) => {
    const directory = directoryWith({
      "a.ts": `import note from "./_note.sql" with { type: "text" }\nexport default note`,
      "_note.sql": "",
      [name]: textOf(0),
    })
    const file = join(directory, name)
    await withBuilder(async (builder) => {
      for (let round = 1; round <= 40; round++) {
        const building = builder.build(join(directory, "a.ts"))
        for (let wait = 0; wait < round % 8; wait++) await new Promise(setImmediate)
        writeFileSync(file, textOf(round))
        const { artefact, inputs } = await building
        const [, built] = /_default = (\d+)/.exec(await Bun.file(artefact).text()) ?? []
        const hash = inputs.find((input) => input.name === name)?.sha256
        expect(hash).toBe(sha256(textOf(Number(built))))
      }
    })
  },
)
