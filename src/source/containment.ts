/**
 * Which files a plugin may consist of: those whose real path lies in its home, the plugin directory or a folder
 * of its own, and packages of a node_modules in or above that. Both sides are compared without symbolic links, so
 * that a mount whose files are links within it, as Kubernetes makes them, is as good as any other folder.
 */
import { realpathSync } from "node:fs"
import { dirname, join, relative, sep } from "node:path"

type Place = "own" | "package" | "outside"

export interface Containment {
  /** Without symbolic links. */
  readonly home: string
  /** Where a file lies, which is given without symbolic links. */
  placeOf(file: string): Place
  /** What an own file is called: its path in the home, without the folders that a mount changes with every update. */
  nameOf(file: string): string
}

export function containmentIn(folder: string): Containment {
  const home = realPathOf(folder)
  let above: readonly string[] | undefined
  return { home, placeOf, nameOf }

  function placeOf(file: string): Place {
    if (isInside(home, file)) {
      return relative(home, file).split(sep).includes("node_modules") ? "package" : "own"
    }
    above ??= packageFoldersAbove(home)
    return above.some((packages) => isInside(packages, file)) ? "package" : "outside"
  }

  function nameOf(file: string): string {
    // Kubernetes keeps a mount's files in a folder such as `..2026_01_31_10_00_00.123`, made anew for each update.
    const segments = relative(home, file).split(sep)
    return segments.filter((segment) => !segment.startsWith("..")).join("/")
  }
}

/** Whether a file lies in a folder. Both are absolute and without symbolic links. */
export function isInside(folder: string, file: string): boolean {
  return file.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}

/** The path without symbolic links; one that is not there stays as it is. */
export function realPathOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

function packageFoldersAbove(home: string): readonly string[] {
  const found: string[] = []
  for (let folder = dirname(home); ; folder = dirname(folder)) {
    found.push(realPathOf(join(folder, "node_modules")))
    if (folder === dirname(folder)) return found
  }
}
