/** Keeps `plugins.packages` of the config file in step with what is installed. */
import { resolve } from "node:path"
import { withoutPackage, withPackage } from "../config/edit-packages.ts"
import { DEFAULT_FILE, type LoadedConfig, loadConfig } from "../config/load.ts"
import { replaceFile } from "../config/replace-file.ts"
import type { Terminal } from "./terminal.ts"

/** @returns the config as it is then; where there was no file, one was made of the built-in config */
export function listPackage(loaded: LoadedConfig, spec: string, terminal: Terminal): LoadedConfig {
  return rewrite(loaded, withPackage(loaded.text, spec), terminal)
}

/** @returns the config as it is then */
export function unlistPackage(loaded: LoadedConfig, name: string, terminal: Terminal): LoadedConfig {
  return rewrite(loaded, withoutPackage(loaded.text, name), terminal)
}

function rewrite(loaded: LoadedConfig, text: string, { env, cwd }: Terminal): LoadedConfig {
  if (text === loaded.text) return loaded
  const path = loaded.path ?? resolve(cwd, DEFAULT_FILE)
  const next = loadConfig({ path, text, env, cwd })
  replaceFile(path, text)
  return next
}
