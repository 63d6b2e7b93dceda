/** Reads a plugin's definition as the gateway does, without running its `setup`. */

import type { PluginDefinition } from "../plugin/contract.ts"
import { registerHostModules } from "../plugin/host-modules.ts"
import { importError } from "../plugin/loader.ts"
import { createModuleHost, type PluginModule } from "../plugin/module-host.ts"
import { checkDefinition } from "../plugin/validate.ts"
import { type BuiltPlugin, PluginBuilder } from "../source/build.ts"
import type { SourcePrint } from "../source/source-print.ts"

const IMPORT_LIMIT_MS = 10_000

interface ReadPlugin {
  readonly definition: PluginDefinition
  /** What it is made of. */
  readonly print: SourcePrint
}

/**
 * @param home the folder that all its files must lie in
 * @throws GatewayError `plugin_load_failed` or `plugin_invalid`
 */
export async function readDefinition(file: string, home: string): Promise<ReadPlugin> {
  registerHostModules()
  const builder = new PluginBuilder()
  try {
    const print = await builder.build(file, [], home)
    const module = await imported(file, print)
    module.dispose()
    return { definition: checkDefinition(module.exports, file), print }
  } finally {
    await builder.close()
  }
}

async function imported(file: string, { artefact, inputs }: BuiltPlugin): Promise<PluginModule> {
  try {
    return await createModuleHost().import(artefact, {
      signal: AbortSignal.timeout(IMPORT_LIMIT_MS),
      onError() {
        // What fails beside the import fails again, and is told, when the plugin is loaded.
      },
    })
  } catch (thrown) {
    throw importError(thrown, { source: file, files: inputs.map((input) => input.file) })
  }
}
