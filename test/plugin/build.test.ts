import { expect, test } from "bun:test"
import { existsSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { GatewayError } from "../../src/errors.ts"
import { hashOf, PluginBuilder } from "../../src/plugin/build.ts"
import { temporaryDirectory } from "./fixtures.ts"

function directoryWith(files: Readonly<Record<string, string>>): string {
  const directory = temporaryDirectory()
  for (const [file, text] of Object.entries(files)) writeFileSync(join(directory, file), text)
  return directory
}

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
  expect(inputs).toEqual(["a.ts", "b.ts", "c.ts"].map((file) => join(directory, file)))
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

test("the hash follows the content of every file, and sees a file go", async () => {
  const directory = directoryWith({ "a.ts": "1", "b.ts": "2" })
  const files = ["a.ts", "b.ts"].map((file) => join(directory, file))
  const before = await hashOf(files)
  writeFileSync(join(directory, "b.ts"), "2")
  expect(await hashOf(files)).toBe(before)
  writeFileSync(join(directory, "b.ts"), "3")
  const after = await hashOf(files)
  expect(after).not.toBe(before)
  expect(await hashOf([join(directory, "a.ts"), join(directory, "missing.ts")])).not.toBe(after)
})

test("content that moves from one file to the next changes the hash", async () => {
  const one = directoryWith({ "a.ts": "12", "b.ts": "" })
  const before = await hashOf(["a.ts", "b.ts"].map((file) => join(one, file)))
  writeFileSync(join(one, "a.ts"), "1")
  writeFileSync(join(one, "b.ts"), "2")
  expect(await hashOf(["a.ts", "b.ts"].map((file) => join(one, file)))).not.toBe(before)
})

test("the hash of a build is that of the content in it, also where files change while they are built", async () => {
  const directory = directoryWith({ "a.ts": "export default 0" })
  const file = join(directory, "a.ts")
  await withBuilder(async (builder) => {
    for (let round = 1; round <= 20; round++) {
      const building = builder.build(file)
      await Promise.resolve()
      writeFileSync(file, `export default ${round}`)
      const { artefact, hash } = await building
      const isCurrent = (await Bun.file(artefact).text()).includes(`_default = ${round}`)
      if (hash === (await hashOf([file]))) expect(isCurrent).toBe(true)
    }
  })
})
