/** The SDK for plugin authors that `scripts/sdk.ts` makes: inside the binary, or in `dist/sdk/` of the repository. */
import { statSync } from "node:fs"
import { join, resolve } from "node:path"
import { GatewayError } from "../errors.ts"

/** Paths and what is in them. */
export type Files = Readonly<Record<string, string>>

export interface SdkArchive {
  /** The gateway's. */
  readonly version: string
  /** Of everything in it: two builds of one version may differ. */
  readonly hash: string
  /** The package `leapgate`. */
  readonly leapgate: Files
  /** The types of `@sinclair/typebox`. */
  readonly typebox: { readonly version: string; readonly files: Files }
  /** One plugin and its test for each type. */
  readonly templates: Files
}

const NAME = "sdk.json.zst"

export async function sdkArchive(): Promise<SdkArchive> {
  const file = Bun.isStandaloneExecutable ? join(import.meta.dir, NAME) : await freshArchive()
  const bytes = await Bun.file(file).bytes()
  return JSON.parse(new TextDecoder().decode(Bun.zstdDecompressSync(bytes)))
}

/** From source nobody has to build first: what is missing or old is made. */
async function freshArchive(): Promise<string> {
  const root = resolve(import.meta.dir, "../..")
  const file = join(root, "dist/sdk", NAME)
  if (madeAtMs(file) > newestChangeMs(root)) return file
  const child = Bun.spawn([process.execPath, join(root, "scripts/sdk.ts")], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  const [text] = await Promise.all([child.stderr.text(), child.stdout.text(), child.exited])
  if (child.exitCode === 0) return file
  throw new GatewayError(
    "internal_error",
    `the SDK cannot be made; are the dependencies installed (bun install)? ${text.trim()}`,
  )
}

const SOURCES = ["src/**/*.ts", "templates/*.ts", "scripts/**/*", "package.json", "bun.lock"]

function newestChangeMs(root: string): number {
  const files = SOURCES.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync({ cwd: root })])
  return Math.max(...files.map((file) => statSync(join(root, file)).mtimeMs))
}

function madeAtMs(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
