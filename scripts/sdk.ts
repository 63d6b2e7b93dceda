/**
 * Makes the package `leapgate` for authors who have nothing but the binary: the types of `leapgate/plugin` and
 * `leapgate/testing`, the code that a test needs, TypeBox, and the templates of `leapgate plugin new`. It lies in
 * `dist/sdk/`, as files to look at and as the archive that goes into the binary.
 */
import { createHash } from "node:crypto"
import { mkdtemp, readdir, rename, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, relative, resolve } from "node:path"
import packageJson from "../package.json" with { type: "json" }

const ROOT = resolve(import.meta.dir, "..")
const ENTRIES = join(import.meta.dir, "sdk")
const TYPEBOX = join(ROOT, "node_modules/@sinclair/typebox")
const BUN_TYPES = join(ROOT, "node_modules/bun-types")
const TEMPLATES = join(ROOT, "templates")
const OUT = join(ROOT, "dist/sdk")
const ARCHIVE = "sdk.json.zst"

/** Paths and what is in them. */
type Files = Readonly<Record<string, string>>

const work = await mkdtemp(join(tmpdir(), "leapgate-sdk-"))
try {
  const leapgate = { ...(await runtime()), ...(await types()), ...(await globals()) }
  const typebox = await typeboxTypes()
  const templates = await templateFiles()
  const hash = hashOf([leapgate, typebox, templates])
  const archive = {
    version: packageJson.version,
    hash,
    leapgate: { "package.json": manifest(hash), ...leapgate },
    typebox: { version: await typeboxVersion(), files: typebox },
    templates,
  }
  const bytes = Bun.zstdCompressSync(JSON.stringify(archive), { level: 19 })
  for (const [name, files] of Object.entries({ leapgate: archive.leapgate, typebox })) {
    await rm(join(OUT, name), { recursive: true, force: true })
    await put(files, join(OUT, name))
  }
  // Last, and in one step: whoever reads it meanwhile has the old one or the new one.
  const fresh = join(OUT, `${ARCHIVE}.${process.pid}`)
  await Bun.write(fresh, bytes)
  await rename(fresh, join(OUT, ARCHIVE))
  const unpacked = sizeOf(archive.leapgate) + sizeOf(typebox)
  console.log(
    `dist/sdk: ${kilobytes(unpacked)} in ${count(archive.leapgate) + count(typebox)} files, ${kilobytes(bytes.length)} in the binary`,
  )
} finally {
  await rm(work, { recursive: true, force: true })
}

/** One build, so that plugin and harness share their classes, as plugin and gateway do. */
async function runtime(): Promise<Files> {
  const names = ["plugin", "testing", "typebox", "typebox-value"]
  const { outputs } = await Bun.build({
    entrypoints: names.map((name) => join(ENTRIES, `${name}.ts`)),
    target: "bun",
    format: "esm",
    splitting: true,
    minify: true,
    naming: { entry: "[name].js", chunk: "[name]-[hash].js" },
  })
  const files = await Promise.all(
    outputs.map(async (output) => [output.path.replace(/^\.\//, ""), await output.text()] as const),
  )
  return Object.fromEntries(files)
}

/** The declarations that the two entries need, and no others. */
async function types(): Promise<Files> {
  const outDir = join(work, "types")
  const compiler = join(ROOT, "node_modules/.bin/tsc")
  const child = Bun.spawnSync([process.execPath, compiler, "-p", ENTRIES, "--outDir", outDir])
  if (child.exitCode !== 0) throw new Error(`tsc failed:\n${child.stdout}${child.stderr}`)
  const entries = ["src/plugin/sdk.d.ts", "src/testing/sdk.d.ts"].map((file) => join(outDir, file))
  return prefixed("types", await reachable(entries, join(outDir, "src")))
}

async function typeboxTypes(): Promise<Files> {
  const root = join(TYPEBOX, "build/esm")
  return prefixed(
    "types",
    await reachable([join(root, "index.d.mts"), join(root, "value/index.d.mts")], root),
  )
}

async function globals(): Promise<Files> {
  const tests = await reachable([join(BUN_TYPES, "test.d.ts")], BUN_TYPES)
  const text = await Bun.file(join(ENTRIES, "globals.txt")).text()
  return { "types/globals.d.ts": text, ...prefixed("types/bun", tests) }
}

/** These declarations and what they import by a relative path; keys are relative to `root`. */
async function reachable(entries: readonly string[], root: string): Promise<Files> {
  const found = new Map<string, string>()
  const waiting = [...entries]
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (found.has(file)) continue
    // Every TypeScript finds `x.d.ts` behind "./x.js"; only new ones do behind "./x.ts".
    const text = (await Bun.file(file).text()).replace(/(["']\.{1,2}\/[^"']+)\.ts(["'])/g, "$1.js$2")
    found.set(file, text)
    // Examples in comments import what is not there.
    const code = text.replace(/\/\*.*?\*\//gs, "")
    for (const [, path = ""] of code.matchAll(/(?:from|import\()\s*["'](\.{1,2}\/[^"']+)["']/g)) {
      waiting.push(await declarationOf(resolve(dirname(file), path)))
    }
  }
  return Object.fromEntries([...found].sort().map(([file, text]) => [relative(root, file), text]))
}

async function declarationOf(path: string): Promise<string> {
  const candidates = [path.replace(/\.(m?)js$/, ".d.$1ts"), `${path}.d.ts`, join(path, "index.d.ts")]
  for (const candidate of candidates) if (await Bun.file(candidate).exists()) return candidate
  throw new Error(`no declarations are at ${path}`)
}

async function templateFiles(): Promise<Files> {
  const names = (await readdir(TEMPLATES)).filter((name) => name.endsWith(".ts")).sort()
  const texts = await Promise.all(names.map((name) => Bun.file(join(TEMPLATES, name)).text()))
  return Object.fromEntries(names.map((name, index) => [name, texts[index] ?? ""]))
}

function manifest(hash: string): string {
  const entry = (types: string, code?: string) => ({ types, ...(code !== undefined && { default: code }) })
  const content = {
    name: "leapgate",
    version: packageJson.version,
    description: "Types and test harness for LeapGate plugins. Written by `leapgate plugin types`",
    license: packageJson.license,
    type: "module",
    leapgate: { sdk: hash },
    exports: {
      "./plugin": entry("./types/plugin/sdk.d.ts", "./plugin.js"),
      "./testing": entry("./types/testing/sdk.d.ts", "./testing.js"),
      "./globals": entry("./types/globals.d.ts"),
      "./typebox": "./typebox.js",
      "./typebox-value": "./typebox-value.js",
      "./package.json": "./package.json",
    },
  }
  return `${JSON.stringify(content, null, 2)}\n`
}

async function typeboxVersion(): Promise<string> {
  const { version } = await Bun.file(join(TYPEBOX, "package.json")).json()
  return version
}

async function put(files: Files, directory: string): Promise<void> {
  for (const [path, text] of Object.entries(files)) await Bun.write(join(directory, path), text)
}

function prefixed(folder: string, files: Files): Files {
  return Object.fromEntries(Object.entries(files).map(([path, text]) => [`${folder}/${path}`, text]))
}

function hashOf(parts: readonly Files[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16)
}

function count(files: Files): number {
  return Object.keys(files).length
}

function sizeOf(files: Files): number {
  return Object.values(files).reduce((sum, text) => sum + Buffer.byteLength(text), 0)
}

function kilobytes(bytes: number): string {
  return `${Math.round(bytes / 1000)} KB`
}
