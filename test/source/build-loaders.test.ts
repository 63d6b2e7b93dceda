/** What a plugin may import, beside code: as Bun's bundler takes it, although the gateway reads the files. */
import { expect, test } from "bun:test"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { PluginBuilder } from "../../src/source/build.ts"
import { temporaryDirectory } from "../plugin/fixtures.ts"

type Files = Readonly<Record<string, string | Uint8Array>>

function directoryWith(files: Files): string {
  const directory = temporaryDirectory()
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), content)
  }
  return directory
}

/** Builds `a.tsx` of these files, imports it, and hands over its default export and what it was made of. */
async function built(files: Files, entry = "a.tsx") {
  const directory = directoryWith(files)
  const builder = new PluginBuilder()
  try {
    const { artefact, inputs, packages } = await builder.build(join(directory, entry))
    const names = inputs.map(({ name }) => name)
    for (const { file, sha256 } of inputs) {
      expect(sha256).toBe(new Bun.CryptoHasher("sha256").update(readFileSync(file)).digest("hex"))
    }
    const exported: unknown = (await import(artefact)).default
    return { exported, names, packages, artefact, text: readFileSync(artefact, "utf8") }
  } finally {
    await builder.close()
  }
}

/** The value that `import value from "<file>"` gives, with what stands behind the file's name. */
async function imported(file: string, content: string | Uint8Array, attributes = ""): Promise<unknown> {
  const source = `import value from "./${file}"${attributes}\nexport default value`
  const { exported, names } = await built({ [file]: content, "a.tsx": source })
  expect(names).toEqual(["a.tsx", file].sort())
  return exported
}

test.each([
  ["data.json", `{ "x": 1 }`, { x: 1 }],
  ["data.jsonc", `{ "x": 1, /* one */ }`, { x: 1 }],
  ["data.toml", "x = 1", { x: 1 }],
  ["data.yaml", "x: 1", { x: 1 }],
  ["note.txt", "héllo 😀", "héllo 😀"],
  ["helper.ts", "export default 1 as number", 1],
  ["helper.mjs", "export default 2", 2],
  ["helper.cjs", "module.exports = 3", 3],
])("%s is taken for what its name says", async (file, content, value) => {
  expect(await imported(file, content)).toEqual(value)
})

test.each([
  ["query.sql", "select 1", "text", "select 1"],
  ["page.html", "<p>hi</p>", "text", "<p>hi</p>"],
  ["style.css", "a { color: red }", "text", "a { color: red }"],
  ["code.ts", "const a: number = 1", "text", "const a: number = 1"],
  ["data.json", `{"x":1}`, "text", `{"x":1}`],
  ["settings.conf", "x = 1", "toml", { x: 1 }],
])('%s is taken for what the import says: with { type: "…" }', async (file, content, type, value) => {
  expect(await imported(file, content, ` with { type: "${type}" }`)).toEqual(value)
})

test("the attributes of a dynamic import count too, in a helper file as well", async () => {
  const { exported, names } = await built({
    "a.tsx": `export { default } from "./helper.ts"`,
    "helper.ts": `export default (await import("./data.json", { with: { type: "text" } })).default`,
    "data.json": "[1]",
  })
  expect(exported).toBe("[1]")
  expect(names).toEqual(["a.tsx", "data.json", "helper.ts"])
})

test("a file of an unknown kind is copied beside the bundle, and its path is given", async () => {
  const bytes = crypto.getRandomValues(new Uint8Array(400))
  const { exported, names, text } = await built({
    "a.tsx": `import path from "./model.bin"\nexport default path`,
    "model.bin": bytes,
  })
  expect(String(exported)).toMatch(/model-\w+\.bin$/)
  expect(text).toContain("model-")
  expect(names).toEqual(["a.tsx", "model.bin"])
})

test("a byte order mark is no part of code or text", async () => {
  expect(await imported("note.txt", "\uFEFFhi")).toBe("hi")
  expect(await imported("helper.ts", "\uFEFFexport default 1 as number")).toBe(1)
})

test("JSX and the paths of tsconfig.json work", async () => {
  const { exported, names } = await built({
    "a.tsx": `import { h } from "@lib/h.ts"\nexport default <b id="x">{h}</b>`,
    "lib/h.ts": "export const h = 'hi'",
    "tsconfig.json": JSON.stringify({
      compilerOptions: { paths: { "@lib/*": ["./lib/*"] }, jsx: "react-jsx", jsxImportSource: "mini" },
    }),
    "node_modules/mini/package.json": `{ "name": "mini", "version": "1.0.0" }`,
    "node_modules/mini/jsx-runtime.js": "export const jsx = (type, props) => ({ type, props })",
    "node_modules/mini/jsx-dev-runtime.js": "export const jsxDEV = (type, props) => ({ type, props })",
  })
  expect(exported).toEqual({ type: "b", props: { id: "x", children: "hi" } })
  expect(names).toEqual(["a.tsx", "lib/h.ts"])
})

test("the source map leads errors to the lines of the sources", async () => {
  const helper = "interface Unused { a: 1 }\n\nexport function fail(): never {\n  throw new Error('x')\n}\n"
  const directory = directoryWith({
    "a.tsx": `import { fail } from "./helper.ts"\nexport default fail`,
    "helper.ts": helper,
  })
  const builder = new PluginBuilder()
  const { artefact } = await builder.build(join(directory, "a.tsx"))
  const { sourcesContent } = JSON.parse(readFileSync(`${artefact}.map`, "utf8"))
  expect(sourcesContent).toContain(helper)
  const { default: fail } = await import(artefact)
  const thrown: unknown = await Promise.try(fail).catch((error: unknown) => error)
  expect(thrown instanceof Error && thrown.stack).toMatch(/helper\.ts:4:\d+/)
  await builder.close()
})

test("packages are hashed each as a whole, and are no inputs", async () => {
  const files = {
    "a.tsx": `import one from "one"\nimport two from "@scope/two"\nexport default [one, two]`,
    "node_modules/one/package.json": `{ "name": "one", "version": "1.2.0", "main": "lib/index.js" }`,
    "node_modules/one/lib/index.js": `module.exports = require("./more.js")`,
    "node_modules/one/lib/more.js": "module.exports = 1",
    "node_modules/@scope/two/package.json": `{ "name": "@scope/two", "version": "2.0.0" }`,
    "node_modules/@scope/two/index.js": "export default 2",
  }
  const before = await built(files)
  expect(before.exported).toEqual([1, 2])
  expect(before.names).toEqual(["a.tsx"])
  expect(before.packages.map(({ id }) => id)).toEqual(["@scope/two@2.0.0", "one@1.2.0"])
  expect((await built(files)).packages).toEqual(before.packages)
  const changed = await built({ ...files, "node_modules/one/lib/more.js": "module.exports = 3" })
  expect(changed.packages[0]).toEqual(before.packages[0])
  expect(changed.packages[1]?.sha256).not.toBe(before.packages[1]?.sha256)
})

test.each([
  `import { now } from "./macro.ts" with { type: "macro" }`,
  `import { now } from "macro:./macro.ts"`,
  `import { now } from "./macro.ts" with { "t\\x79pe": "m\\x61cro" }`,
])("a macro is refused: it would run before anything is checked: %s", async (line) => {
  const key = `leapgate-macro-${crypto.randomUUID()}`
  const files = {
    "a.tsx": `${line}\nexport default now()`,
    "macro.ts": `export function now() { process.env["${key}"] = "ran"; return 1 }`,
  }
  await expect(built(files)).rejects.toThrow("Macros are disabled")
  expect(process.env[key]).toBeUndefined()
})
