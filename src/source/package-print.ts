/** One hash for each package that a bundle has files of. */
import { readFile } from "node:fs/promises"
import { join, sep } from "node:path"
import { byText, combinedHash, type PackagePrint, type SourceFile } from "./source-print.ts"

/** @param files of packages only: each lies in a node_modules */
export async function printPackages(
  files: readonly Pick<SourceFile, "file" | "sha256">[],
): Promise<readonly PackagePrint[]> {
  const roots = new Map<string, { name: string; sha256: string }[]>()
  for (const { file, sha256 } of files) {
    const root = packageRoot(file)
    const name = file.slice(root.length + 1).replaceAll(sep, "/")
    roots.set(root, [...(roots.get(root) ?? []), { name, sha256 }])
  }
  // Two copies of one package in one version count as one: each must be what it was.
  const byId = new Map<string, { name: string; sha256: string }[]>()
  for (const [root, own] of roots) {
    const id = await packageId(root)
    byId.set(id, [...(byId.get(id) ?? []), ...own])
  }
  return [...byId]
    .map(([id, own]) => {
      const sorted = own.sort((a, b) => byText(a.name, b.name) || byText(a.sha256, b.sha256))
      return { id, sha256: combinedHash(sorted) }
    })
    .sort((a, b) => byText(a.id, b.id))
}

const FOLDER = "node_modules"

/** The name of the package that a file belongs to; undefined where it belongs to none. */
export function packageName(file: string): string | undefined {
  const { segments, start, end } = placeOf(file)
  return start === 0 ? undefined : segments.slice(start, end).join("/")
}

/** `…/node_modules/name`, or `…/node_modules/@scope/name`. */
function packageRoot(file: string): string {
  const { segments, end } = placeOf(file)
  return segments.slice(0, end).join(sep)
}

function placeOf(file: string) {
  const segments = file.split(sep)
  const start = segments.lastIndexOf(FOLDER) + 1
  return { segments, start, end: start + (segments[start]?.startsWith("@") ? 2 : 1) }
}

async function packageId(root: string): Promise<string> {
  const name = packageName(root) ?? root
  const version = await packageVersion(root)
  return version === undefined ? name : `${name}@${version}`
}

/** Undefined where there is no package.json that says one. */
async function packageVersion(root: string): Promise<string | undefined> {
  try {
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"))
    return typeof version === "string" ? version : undefined
  } catch {
    return undefined
  }
}
