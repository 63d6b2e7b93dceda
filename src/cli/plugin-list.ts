import { loadConfig } from "../config/load.ts"
import { listPlugins } from "../plugin-reader.ts"
import type { ConfigOption } from "./program.ts"
import { table } from "./table.ts"
import type { Terminal } from "./terminal.ts"

interface PluginListOptions extends ConfigOption {
  readonly json?: true
}

/** Loads each plugin's definition, and starts none. */
export async function showPlugins(
  { config: path, json }: PluginListOptions,
  { out, env, cwd }: Terminal,
): Promise<number> {
  const plugins = (await listPlugins(loadConfig({ path, env, cwd }))).map(
    ({ name, version, type, description, enabled, source, error }) => ({
      name,
      version,
      type,
      description,
      enabled,
      source,
      error,
    }),
  )
  if (json) out(JSON.stringify(plugins, null, 2))
  else if (plugins.length === 0) out("no plugins")
  else {
    const rows = plugins.map((plugin) => [
      plugin.name,
      plugin.version ?? "",
      plugin.type ?? "",
      plugin.enabled ? "yes" : "no",
      plugin.source,
      plugin.error ?? "",
    ])
    out(table(["NAME", "VERSION", "TYPE", "ENABLED", "SOURCE", "ERROR"], rows))
  }
  return plugins.some(({ error }) => error !== undefined) ? 1 : 0
}
