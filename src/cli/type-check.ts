/** Checks the types of plugins with the compiler that Bun brings, in the binary too. */
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { HOST_MODULES } from "../source/host-module-names.ts"
import { sdkArchive } from "./sdk-archive.ts"
import { COMPILER_OPTIONS, installSdk, isInRepository } from "./sdk-install.ts"

interface TypeFault {
  readonly file: string
  readonly line: number
  readonly column: number
  /** With TypeScript's code in front: `TS2322: Type …` */
  readonly message: string
}

export interface TypeChecker {
  /** The faults of a file and of what it imports. */
  check(file: string): Promise<readonly TypeFault[]>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Where the author has set up the SDK and a tsconfig.json, those are used, as by an editor. Elsewhere it is this
 * binary's SDK in a folder that goes again.
 */
export function createTypeChecker(): TypeChecker {
  let folder: Promise<string> | undefined
  return { check, [Symbol.asyncDispose]: close }

  async function check(file: string): Promise<readonly TypeFault[]> {
    if (hasTypes(dirname(file))) return faultsOf(file, undefined)
    folder ??= ownSdk()
    return faultsOf(file, join(await folder, "tsconfig.json"))
  }

  async function close(): Promise<void> {
    if (folder !== undefined) await rm(await folder, { recursive: true, force: true })
  }
}

function hasTypes(directory: string): boolean {
  const isThere = (path: string) => isAbove(directory, path)
  return (
    isInRepository(directory) || (isThere("node_modules/leapgate/package.json") && isThere("tsconfig.json"))
  )
}

function isAbove(directory: string, path: string): boolean {
  for (let folder = directory; ; folder = dirname(folder)) {
    if (existsSync(join(folder, path))) return true
    if (folder === dirname(folder)) return false
  }
}

async function ownSdk(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "leapgate-types-"))
  await installSdk(await sdkArchive(), folder)
  const paths = {
    "leapgate/*": ["./node_modules/leapgate/types/*/sdk.d.ts"],
    "@sinclair/typebox": ["./node_modules/@sinclair/typebox/types/index.d.mts"],
    "@sinclair/typebox/value": ["./node_modules/@sinclair/typebox/types/value/index.d.mts"],
  }
  const config = { compilerOptions: { ...COMPILER_OPTIONS, paths } }
  await Bun.write(join(folder, "tsconfig.json"), JSON.stringify(config))
  return folder
}

async function faultsOf(file: string, tsconfig: string | undefined): Promise<readonly TypeFault[]> {
  const { logs } = await Bun.build({
    entrypoints: [file],
    target: "bun",
    external: [...HOST_MODULES],
    check: true,
    throw: false,
    ...(tsconfig !== undefined && { tsconfig }),
  })
  return logs
    .filter(({ level }) => level === "error")
    .map(({ message, position }) => ({
      file: position?.file || file,
      line: position?.line ?? 1,
      column: position?.column ?? 1,
      message,
    }))
}
