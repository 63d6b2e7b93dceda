import { Encode } from "@sinclair/typebox/value"
import { stringify } from "yaml"
import { loadConfig } from "../config/load.ts"
import { ConfigSchema } from "../config/schema.ts"
import { maskSecrets } from "../config/secrets.ts"
import type { ConfigOption } from "./program.ts"
import type { Terminal } from "./terminal.ts"

export function printConfig({ config: path }: ConfigOption, { out, env, cwd }: Terminal): number {
  const { config } = loadConfig({ path, env, cwd })
  out(stringify(maskSecrets(Encode(ConfigSchema, config)), { lineWidth: 0 }).trimEnd())
  return 0
}
