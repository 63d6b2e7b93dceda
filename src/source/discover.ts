/**
 * Which files of a plugin directory are plugins:
 * - every `.ts`, `.js`, `.mts` or `.mjs` file directly in it;
 * - every folder in it with an entry file: `main` of its package.json, `index.ts` or `plugin.ts`.
 *   Its other files are the plugin's own;
 * - a folder without an entry file is a group: its files and folders are looked at in the same way, once.
 *
 * Names that start with `_` or `.`, tests, type declarations and node_modules are never plugins.
 */
import { readdir, readFile, realpath, stat } from "node:fs/promises"
import { basename, extname, join } from "node:path"

export interface PluginSource {
  /** What the plugin is called until its definition can be read: after its file, or its folder. */
  readonly name: string
  /** Absolute path of the file or folder that is the plugin. */
  readonly path: string
  /** Absolute path of the entry file. */
  readonly file: string
  /** The same without symbolic links. */
  readonly realPath: string
}

/** The plugins of a directory, sorted by path; none where the directory is missing. */
export async function discoverPlugins(directory: string): Promise<readonly PluginSource[]> {
  const sources = await pluginsIn(directory, GROUP_DEPTH)
  return sources.sort((a, b) => (a.file < b.file ? -1 : 1))
}

/** The plugin at a path, which is a file or a folder with an entry file. */
export async function pluginAt(path: string): Promise<PluginSource | undefined> {
  const kind = await kindOf(path)
  if (kind === "missing") return undefined
  const file = kind === "file" ? path : await folderEntry(path)
  if (file === undefined) return undefined
  return { name: nameFrom(path), path, file, realPath: await realpath(file).catch(() => file) }
}

/** Whether a file or folder of this name is looked at in a plugin directory. */
export function isDiscovered(name: string, kind: "file" | "folder"): boolean {
  return !IGNORED.test(name) && (kind === "folder" || EXTENSIONS.includes(extname(name)))
}

const GROUP_DEPTH = 1
const EXTENSIONS: readonly string[] = [".ts", ".js", ".mts", ".mjs"]
const ENTRY_STEMS = ["index", "plugin"]
const IGNORED = /^[_.]|^node_modules$|\.d\.m?ts$|\.(?:test|spec)\.m?[jt]s$/

async function pluginsIn(directory: string, depth: number): Promise<PluginSource[]> {
  const names = await readdir(directory).catch(ifMissing<string[]>([]))
  const found = await Promise.all(
    names
      .filter((name) => !IGNORED.test(name))
      .map(async (name): Promise<readonly PluginSource[]> => {
        const path = join(directory, name)
        const isFolder = (await kindOf(path)) === "folder"
        if (!isFolder && !EXTENSIONS.includes(extname(name))) return []
        const plugin = await pluginAt(path)
        if (plugin !== undefined) return [plugin]
        return isFolder && depth > 0 ? pluginsIn(path, depth - 1) : []
      }),
  )
  return found.flat()
}

function nameFrom(path: string): string {
  const extension = extname(path)
  const stem = EXTENSIONS.includes(extension) ? basename(path, extension) : basename(path)
  return stem.replace(/[^A-Za-z0-9]+/g, "-").toLowerCase()
}

async function folderEntry(folder: string): Promise<string | undefined> {
  const main = await packageMain(folder)
  if (main !== undefined) return join(folder, main)
  for (const stem of ENTRY_STEMS) {
    for (const extension of EXTENSIONS) {
      const file = join(folder, stem + extension)
      if ((await kindOf(file)) === "file") return file
    }
  }
  return undefined
}

async function packageMain(folder: string): Promise<string | undefined> {
  try {
    const { main } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"))
    return typeof main === "string" && main !== "" ? main : undefined
  } catch {
    // No package.json, or one that is half written: the folder has no `main` then.
    return undefined
  }
}

async function kindOf(path: string): Promise<"file" | "folder" | "missing"> {
  const stats = await stat(path).catch(ifMissing(undefined))
  if (stats === undefined) return "missing"
  return stats.isDirectory() ? "folder" : "file"
}

/** A file may go between two looks; everything else that goes wrong is told. */
function ifMissing<T>(otherwise: T): (thrown: NodeJS.ErrnoException) => T {
  return (thrown) => {
    if (thrown.code === "ENOENT" || thrown.code === "ELOOP") return otherwise
    throw thrown
  }
}
