import packageJson from "../../package.json" with { type: "json" }
import { loadConfig } from "../config/load.ts"
import { pluginDirectory } from "../plugin-settings.ts"
import type { ConfigOption } from "./program.ts"
import { sdkArchive } from "./sdk-archive.ts"
import { installSdk, isInRepository } from "./sdk-install.ts"
import type { Terminal } from "./terminal.ts"

/** Gives editors and tests what they need to know `leapgate/plugin` and `leapgate/testing`. */
export async function writeTypes(
  { config: path }: ConfigOption,
  { out, env, cwd }: Terminal,
): Promise<number> {
  const directory = pluginDirectory(loadConfig({ path, env, cwd }))
  const written = await bringTypes(directory)
  for (const sentence of written) out(sentence)
  if (isInRepository(directory))
    out("the types are there already: these plugins are in LeapGate's repository")
  else if (written.length === 0) out(`the SDK ${packageJson.version} in ${directory} is up to date`)
  return 0
}

/** @returns what was written, as sentences */
export async function bringTypes(directory: string): Promise<readonly string[]> {
  return isInRepository(directory) ? [] : installSdk(await sdkArchive(), directory)
}
