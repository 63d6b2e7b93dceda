import { expect, test } from "bun:test"
import { statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { containmentIn } from "../../src/source/containment.ts"
import { sha256Of } from "../../src/source/source-print.ts"
import { createSourceReader, TICK_MS } from "../../src/source/source-reader.ts"
import { temporaryDirectory } from "../plugin/fixtures.ts"
import { waitFor } from "../support/wait.ts"

interface Race {
  readonly files: Readonly<Record<string, string>>
  /** Runs between the moment a file was hashed and the moment the bundler has it. */
  afterRead?(file: string): void
  beforeRead?(file: string): void
}

/** Bundles `a.ts`, and tells what is in the bundle and what the reader says of it. */
async function race({ files, afterRead = () => {}, beforeRead = () => {} }: Race) {
  const directory = temporaryDirectory()
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  // What was written a moment ago is never certain.
  const written = statSync(join(directory, "a.ts")).ctimeMs
  await waitFor("the files to be old enough", () => Date.now() - written > 2 * TICK_MS)
  const reader = createSourceReader(containmentIn(directory))
  const { success, outputs } = await Bun.build({
    entrypoints: [join(directory, "a.ts")],
    plugins: [
      {
        name: "race",
        async setup(build) {
          await reader.plugin.setup({
            ...build,
            onLoad: (options, load) =>
              build.onLoad(options, async (args) => {
                beforeRead(args.path)
                const result = await load(args)
                afterRead(args.path)
                return result
              }),
          })
        },
      },
    ],
  })
  expect(success).toBe(true)
  const bundle = (await outputs[0]?.text()) ?? ""
  return {
    bundle,
    isCertain: await reader.isCertain(),
    hashOf: (name: string) => reader.hashes.get(join(directory, name)),
  }
}

test.each(["b.ts", "b.json", "b.txt"])(
  "%s is bundled as it was hashed, although it was changed in between",
  async (name) => {
    const { bundle, isCertain, hashOf } = await race({
      files: { "a.ts": `import b from "./${name}"\nconsole.log(b)`, [name]: textIn(name, "before") },
      afterRead: (file) => file.endsWith(name) && writeFileSync(file, textIn(name, "after")),
    })
    expect(bundle).toContain("before")
    expect(bundle).not.toContain("after")
    expect(hashOf(name)).toBe(sha256Of(textIn(name, "before")))
    expect(isCertain).toBe(true)
  },
)

const WITH_TEXT = {
  "a.ts": `import b from "./b.txt" with { type: "text" }\nconsole.log(b)`,
  "b.txt": "before",
}

test("what the bundler reads on its own is not certain where it was changed in between", async () => {
  const { bundle, isCertain } = await race({
    files: WITH_TEXT,
    afterRead: (file) => file.endsWith("b.txt") && writeFileSync(file, "after"),
  })
  expect(bundle).toContain("after")
  expect(isCertain).toBe(false)
})

test("nor where it was changed and changed back, which its content does not show", async () => {
  const { bundle, isCertain } = await race({
    files: WITH_TEXT,
    afterRead(file) {
      if (!file.endsWith("b.txt")) return
      writeFileSync(file, "after")
      writeFileSync(file, "before")
    },
  })
  expect(bundle).toContain("before")
  expect(isCertain).toBe(false)
})

test("nor where it was written so lately that another change might leave the same time", async () => {
  const { isCertain } = await race({
    files: WITH_TEXT,
    beforeRead: (file) => file.endsWith("b.txt") && writeFileSync(file, "before"),
  })
  expect(isCertain).toBe(false)
})

test("it is certain where nothing was changed", async () => {
  const { bundle, isCertain, hashOf } = await race({ files: WITH_TEXT })
  expect(bundle).toContain("before")
  expect(hashOf("b.txt")).toBe(sha256Of("before"))
  expect(isCertain).toBe(true)
})

function textIn(name: string, text: string): string {
  if (name.endsWith(".ts")) return `export default ${JSON.stringify(text)}`
  return name.endsWith(".json") ? JSON.stringify([text]) : text
}
