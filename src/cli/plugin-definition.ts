/** Reads a plugin's definition as the gateway does, without running its `setup`. */
import { PluginBuilder } from "../plugin/build.ts"
import type { PluginDefinition } from "../plugin/contract.ts"
import { registerHostModules } from "../plugin/host-modules.ts"
import { createModuleHost } from "../plugin/module-host.ts"
import { checkDefinition } from "../plugin/validate.ts"

const IMPORT_LIMIT_MS = 10_000

/** @throws GatewayError `plugin_load_failed` or `plugin_invalid`; or what the plugin's own code throws */
export async function readDefinition(file: string): Promise<PluginDefinition> {
  registerHostModules()
  const builder = new PluginBuilder()
  try {
    const { artefact } = await builder.build(file)
    const module = await createModuleHost().import(artefact, {
      signal: AbortSignal.timeout(IMPORT_LIMIT_MS),
      onError() {
        // What fails beside the import fails again, and is told, when the plugin is loaded.
      },
    })
    module.dispose()
    return checkDefinition(module.exports, file)
  } finally {
    await builder.close()
  }
}
