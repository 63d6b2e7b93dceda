/** Puts the SDK beside an author's plugins, as a package manager would. */
import { existsSync, readFileSync } from "node:fs"
import { mkdir, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { GatewayError } from "../errors.ts"
import type { Files, SdkArchive } from "./sdk-archive.ts"

/** Whether the package `leapgate` that files here belong to is the repository: it brings its types itself. */
export function isInRepository(directory: string): boolean {
  for (let folder = directory; ; folder = dirname(folder)) {
    const manifest = manifestIn(folder)
    // As modules are resolved: the nearest package decides.
    if (manifest !== undefined) return manifest.name === "leapgate" && manifest.leapgate === undefined
    if (folder === dirname(folder)) return false
  }
}

/** @returns what was written, as sentences; none where everything was there */
export async function installSdk(archive: SdkArchive, directory: string): Promise<readonly string[]> {
  const modules = join(directory, "node_modules")
  const written = [
    ...(await installPackage(archive, modules)),
    ...(await installTypeBox(archive, modules)),
    ...(await writeTsconfig(directory)),
  ]
  return written
}

async function installPackage(
  { version, hash, leapgate }: SdkArchive,
  modules: string,
): Promise<readonly string[]> {
  const folder = join(modules, "leapgate")
  const known = manifestIn(folder)
  if (known?.leapgate?.sdk === hash) return []
  if (known !== undefined && known.leapgate === undefined) {
    throw new GatewayError(
      "plugin_conflict",
      `${folder} is there already and is not an SDK that this command wrote; remove it first`,
    )
  }
  await replaceFolder(folder, leapgate)
  const what = known === undefined ? "wrote" : `replaced the one of ${known.version} by`
  return [`${what} the SDK ${version} in ${folder}`]
}

/**
 * Where the author has the same version of TypeBox, that one is used: two copies of its types do not fit together.
 * Where there is another version, the SDK's own goes below `leapgate`.
 */
async function installTypeBox({ hash, typebox }: SdkArchive, modules: string): Promise<readonly string[]> {
  const beside = join(modules, NAME)
  const below = join(modules, "leapgate/node_modules", NAME)
  const own = manifestIn(beside)
  const isTheirs = own !== undefined && own.leapgate === undefined
  if (isTheirs && own.version === typebox.version) return []
  const folder = isTheirs ? below : beside
  if (manifestIn(folder)?.leapgate?.sdk === hash) return []
  await replaceFolder(folder, { ...typebox.files, ...typeboxPackage(typebox.version, hash) })
  return []
}

const NAME = "@sinclair/typebox"

/** Its code is that of `leapgate`, so that both use the same one. */
function typeboxPackage(version: string, hash: string): Files {
  const manifest = {
    name: NAME,
    version,
    type: "module",
    leapgate: { sdk: hash },
    exports: {
      ".": { types: "./types/index.d.mts", default: "./index.js" },
      "./value": { types: "./types/value/index.d.mts", default: "./value.js" },
    },
  }
  return {
    "package.json": `${JSON.stringify(manifest, null, 2)}\n`,
    "index.js": 'export * from "leapgate/typebox"\n',
    "value.js": 'export * from "leapgate/typebox-value"\n',
  }
}

/** For editors and `tsc`; the gateway does not look at it. */
export const COMPILER_OPTIONS = {
  target: "ESNext",
  module: "Preserve",
  moduleResolution: "bundler",
  moduleDetection: "force",
  lib: ["ESNext", "DOM"],
  types: ["leapgate/globals"],
  strict: true,
  noUncheckedIndexedAccess: true,
  allowImportingTsExtensions: true,
  resolveJsonModule: true,
  skipLibCheck: true,
  noEmit: true,
}

async function writeTsconfig(directory: string): Promise<readonly string[]> {
  const file = join(directory, "tsconfig.json")
  if (existsSync(file)) return []
  await Bun.write(file, `${JSON.stringify({ compilerOptions: COMPILER_OPTIONS }, null, 2)}\n`)
  return [`wrote ${file}`]
}

interface Manifest {
  readonly name?: string
  readonly version?: string
  /** The mark of what this command writes. */
  readonly leapgate?: { readonly sdk?: string }
}

function manifestIn(folder: string): Manifest | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  } catch {
    // None, or one that is half written: it says nothing.
    return undefined
  }
}

export async function writeFiles(folder: string, files: Files): Promise<void> {
  for (const [path, text] of Object.entries(files)) await Bun.write(join(folder, path), text)
}

/** An editor that reads meanwhile finds the old one, the new one or none, and never half of one. */
async function replaceFolder(folder: string, files: Files): Promise<void> {
  const fresh = `${folder}.${process.pid}`
  await mkdir(dirname(folder), { recursive: true })
  await writeFiles(fresh, files)
  await rm(folder, { recursive: true, force: true })
  await rename(fresh, folder)
}
