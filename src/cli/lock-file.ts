/** `plugins.lock` as the commands read and write it. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { LoadedConfig } from "../config/load.ts"
import { replaceFile } from "../config/replace-file.ts"
import { GatewayError, messageOf } from "../errors.ts"
import { readLockable } from "../plugin-reader.ts"
import { pluginDirectory } from "../plugin-settings.ts"
import { formatLock, LOCK_FILE, LOCK_VERSION, type Lock, parseLock } from "../source/lock.ts"

export const lockPath = (loaded: LoadedConfig): string => join(pluginDirectory(loaded), LOCK_FILE)

/** Undefined where there is none. @throws GatewayError `plugin_integrity` where it is malformed */
export function readLock(loaded: LoadedConfig): Lock | undefined {
  const file = lockPath(loaded)
  let text: string
  try {
    text = readFileSync(file, "utf8")
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw thrown
  }
  try {
    return parseLock(text)
  } catch (thrown) {
    const message = `${file} is malformed: ${messageOf(thrown)}; restore it, or delete it and run \`leapgate plugin lock\``
    throw new GatewayError("plugin_integrity", message, { cause: thrown })
  }
}

/** In one step: a gateway that looks at it sees the old or the new one. */
export function writeLock(loaded: LoadedConfig, plugins: Lock["plugins"]): void {
  replaceFile(lockPath(loaded), formatLock({ version: LOCK_VERSION, plugins }))
}

/**
 * Brings one plugin's entry up to date, where there is a lock at all; a plugin that is gone loses its.
 * @returns whether the lock was changed
 */
export async function updateLock(loaded: LoadedConfig, name: string): Promise<boolean> {
  const lock = readLock(loaded)
  if (lock === undefined) return false
  const { [name]: _, ...others } = lock.plugins
  const entry = (await readLockable(loaded)).find((plugin) => plugin.name === name)?.entry
  const sources = Object.entries(others).filter(([, { source }]) => source !== entry?.source)
  const plugins = entry === undefined ? others : { ...Object.fromEntries(sources), [name]: entry }
  if (Bun.deepEquals(plugins, lock.plugins)) return false
  writeLock(loaded, plugins)
  return true
}
