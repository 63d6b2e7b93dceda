/** Whether a plugin's config schema is one, and fits its own defaults. */
import { type TObject, Type, TypeGuard } from "@sinclair/typebox"
import { messageOf } from "../errors.ts"
import { resolveConfig } from "../plugin/plugin-config.ts"

/** Sentences; none where all is well. */
export function schemaFaults(plugin: string, { properties }: TObject): readonly string[] {
  return Object.entries(properties).flatMap(([key, property]) => {
    if (!TypeGuard.IsSchema(property)) {
      return [`config.${key} is no valid schema; make it with Type.String(), Type.Integer() …`]
    }
    if (property.default === undefined) return []
    try {
      // Without a value the default is taken, so whatever is refused is the default's fault.
      resolveConfig(plugin, Type.Object({ [key]: property }), {})
      return []
    } catch (thrown) {
      return [`the default of config.${key} does not fit: ${messageOf(thrown)}`]
    }
  })
}
