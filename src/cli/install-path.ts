/** Copies a plugin into the plugin directory, once it is known that it loads from there. */
import { randomUUID } from "node:crypto"
import { cp, mkdir, rename, rm, stat } from "node:fs/promises"
import { basename, extname, join } from "node:path"
import type { LoadedConfig } from "../config/load.ts"
import { GatewayError } from "../errors.ts"
import type { PluginInfo } from "../plugin/plugin-info.ts"
import { readLockable, readPlugin } from "../plugin-reader.ts"
import { pluginDirectory } from "../plugin-settings.ts"
import { isInside, realPathOf } from "../source/containment.ts"
import { isDiscovered, pluginAt } from "../source/discover.ts"
import { updateLock } from "./lock-file.ts"
import { whatNext } from "./next-step.ts"
import type { Terminal } from "./terminal.ts"

interface InstallPathOptions {
  readonly path: string
  readonly loaded: LoadedConfig
  /** Replaces what has the same name. */
  readonly isForced: boolean
}

export async function installPath(
  { path, loaded, isForced }: InstallPathOptions,
  { out }: Terminal,
): Promise<void> {
  const directory = pluginDirectory(loaded)
  const target = join(directory, basename(path))
  await assertPlugin(path, directory)
  if (!isForced && (await isThere(target))) {
    throw new GatewayError("plugin_conflict", `${target} is there already; use --force to replace it`)
  }
  await mkdir(directory, { recursive: true })
  const draft = draftOf(target)
  try {
    await cp(path, draft, { recursive: true, verbatimSymlinks: true })
    const plugin = await readDraft(loaded, draft, path)
    await assertNameFree(loaded, plugin, target)
    await putInPlace(draft, target)
    out(`installed ${plugin.name} ${plugin.version} (${plugin.type}) as ${target}`)
    if (await updateLock(loaded, plugin.name)) out("updated plugins.lock")
    out(whatNext(loaded, plugin.name))
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

async function assertPlugin(path: string, directory: string): Promise<void> {
  const source = await pluginAt(path)
  const name = basename(path)
  const kind = source?.file === path ? "file" : "folder"
  if (source === undefined || !isDiscovered(name, kind)) {
    throw new GatewayError(
      "plugin_load_failed",
      `there is no plugin at ${path}; name a .ts, .js, .mts or .mjs file, or a folder with index.ts, plugin.ts or a package.json with "main", whose name does not start with _ or .`,
    )
  }
  const [home, real] = [realPathOf(directory), realPathOf(path)]
  if (isInside(home, real)) {
    throw new GatewayError("plugin_conflict", `${path} lies in the plugin directory already`)
  }
  if (real === home || isInside(real, home)) {
    throw new GatewayError("plugin_conflict", `${path} holds the plugin directory itself`)
  }
}

/** Beside the target, so that its imports lead where they will; a name with a dot in front is no plugin. */
function draftOf(target: string): string {
  const extension = extname(target)
  const stem = basename(target, extension)
  return join(target, "..", `.${stem}-${randomUUID()}${extension}`)
}

async function readDraft(loaded: LoadedConfig, draft: string, path: string): Promise<PluginInfo> {
  try {
    return await readPlugin(loaded, draft)
  } catch (thrown) {
    if (!(thrown instanceof GatewayError)) throw thrown
    // Who asks knows the file by the name that it has at home.
    const message = thrown.message.replaceAll(draft, path)
    throw new GatewayError(thrown.code, `it was not installed: ${message}`, { cause: thrown })
  }
}

async function assertNameFree(loaded: LoadedConfig, { name }: PluginInfo, target: string): Promise<void> {
  const holder = (await readLockable(loaded)).find((plugin) => plugin.name === name)
  if (holder === undefined) return
  const file = join(pluginDirectory(loaded), holder.source)
  if (file === target || isInside(target, file)) return
  throw new GatewayError(
    "plugin_conflict",
    `it was not installed: there is a plugin "${name}" in ${holder.source}; run \`leapgate plugin remove ${name}\` first, or rename one of them`,
  )
}

async function putInPlace(draft: string, target: string): Promise<void> {
  if (!(await isThere(target))) return rename(draft, target)
  const old = draftOf(target)
  await rename(target, old)
  try {
    await rename(draft, target)
  } catch (thrown) {
    await rename(old, target)
    throw thrown
  }
  await rm(old, { recursive: true, force: true })
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
