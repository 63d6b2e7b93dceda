import { loadConfig } from "../config/load.ts"
import type { ConfigOption } from "./program.ts"
import type { Terminal } from "./terminal.ts"

/** Throws the faults, if there are any. */
export function checkConfig({ config: path }: ConfigOption, { out, env, cwd }: Terminal): number {
  const loaded = loadConfig({ path, env, cwd })
  for (const warning of loaded.warnings) out(`warning: ${warning}`)
  for (const { reason } of loaded.skippedProviders) out(`warning: ${reason}`)
  out(
    loaded.path === undefined ? "no config.yaml here; the built-in one is valid" : `${loaded.path} is valid`,
  )
  return 0
}
