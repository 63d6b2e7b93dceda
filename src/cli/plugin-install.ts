import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { loadConfig } from "../config/load.ts"
import { installPackage } from "./install-package.ts"
import { installPath } from "./install-path.ts"
import type { ConfigOption } from "./program.ts"
import type { Terminal } from "./terminal.ts"

export interface InstallOptions extends ConfigOption {
  readonly force?: true
}

/** Takes a plugin in: a file or folder that is there, else a package of the registry. */
export async function installPlugin(
  what: string,
  options: InstallOptions,
  terminal: Terminal,
): Promise<number> {
  const { env, cwd } = terminal
  const loaded = loadConfig({ path: options.config, env, cwd })
  const path = resolve(cwd, what)
  const isPath = /^\.{0,2}[\\/]/.test(what) || existsSync(path)
  if (isPath) await installPath({ path, loaded, isForced: options.force === true }, terminal)
  else await installPackage({ spec: what, loaded }, terminal)
  return 0
}
