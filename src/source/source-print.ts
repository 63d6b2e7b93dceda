/** What a plugin was made of: every file with the hash of what was in it when it was bundled. */
import { readFile } from "node:fs/promises"

export interface SourceFile {
  /** Absolute, without symbolic links. */
  readonly file: string
  /** Relative to the folder that the plugin may consist of, with `/`: the same on every machine. */
  readonly name: string
  readonly sha256: string
}

export interface PackagePrint {
  /** `name@version`. */
  readonly id: string
  /** Of all its files that are in the bundle. */
  readonly sha256: string
}

export interface SourcePrint {
  /** The plugin's own files: its entry and what that imports, without packages. Sorted by name. */
  readonly inputs: readonly SourceFile[]
  /** Of all inputs together. */
  readonly hash: string
  /** Sorted by id. */
  readonly packages: readonly PackagePrint[]
}

export function sha256Of(content: Uint8Array | string): string {
  return new Bun.CryptoHasher("sha256").update(content).digest("hex")
}

/** One hash for many files: of their names and hashes, which must be sorted. */
export function combinedHash(files: readonly Pick<SourceFile, "name" | "sha256">[]): string {
  return sha256Of(JSON.stringify(files.map(({ name, sha256 }) => [name, sha256])))
}

/** The combined hash of what these files hold now; a missing file counts as one more content. */
export async function hashOf(files: readonly Pick<SourceFile, "file" | "name">[]): Promise<string> {
  const current = files.map(async ({ file, name }) => {
    const content = await readFile(file).catch(() => undefined)
    return { name, sha256: content === undefined ? "missing" : sha256Of(content) }
  })
  return combinedHash(await Promise.all(current))
}

/** Sorts by code units: the same order on every machine. */
export function byText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
