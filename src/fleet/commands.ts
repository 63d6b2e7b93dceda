/**
 * Operations on plugins as plain data, so that one process can have the others do what it did. A new one gets a
 * member of the union and a case below; what it changes for good belongs into `PluginRegistry.overrides` too.
 */
import type { PluginInfo } from "../plugin/plugin-info.ts"
import type { PluginRegistry } from "../plugin/registry.ts"

export type PluginCommand =
  | { readonly op: "enable" | "reload"; readonly name: string }
  | { readonly op: "disable"; readonly name: string; readonly force?: boolean; readonly reason?: string }

/** @throws GatewayError why it was not done */
export async function runCommand(registry: PluginRegistry, command: PluginCommand): Promise<PluginInfo> {
  switch (command.op) {
    case "enable":
      return registry.enable(command.name)
    case "reload":
      return registry.reload(command.name)
    case "disable": {
      const { name, force = false, reason } = command
      return registry.disable(name, { force, ...(reason !== undefined && { reason }) })
    }
  }
}
