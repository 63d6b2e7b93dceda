import type { TObject } from "@sinclair/typebox"
import type { PluginDefinition, PluginType } from "./contract.ts"

/** Types a plugin definition; the default export of every plugin file. Returns its argument. */
export function definePlugin<const T extends PluginType, S extends TObject = TObject>(
  definition: PluginDefinition<T, S>,
): PluginDefinition<T, S> {
  return definition
}
