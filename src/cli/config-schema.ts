import type { TSchema } from "@sinclair/typebox"
import { configJsonSchema } from "../config/json-schema.ts"
import { loadConfig } from "../config/load.ts"
import { listPlugins } from "../plugin-reader.ts"
import type { ConfigOption } from "./program.ts"
import type { Terminal } from "./terminal.ts"

export async function printSchema(
  { config: path }: ConfigOption,
  { out, env, cwd }: Terminal,
): Promise<number> {
  const plugins = await listPlugins(loadConfig({ path, env, cwd }))
  const schemas = plugins.flatMap(({ name, config }) =>
    config === undefined ? [] : [[name, config as TSchema] as const],
  )
  out(JSON.stringify(configJsonSchema(Object.fromEntries(schemas)), null, 2))
  return 0
}
