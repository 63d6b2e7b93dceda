/** Whether a plugin's config schema is one, and fits its own defaults. */

import type { TObject } from "@sinclair/typebox"
import { type TSchema, Type, TypeGuard } from "@sinclair/typebox"
import { messageOf } from "../errors.ts"
import { resolveConfig } from "../plugin/plugin-config.ts"

/** Sentences; none where all is well. */
export function schemaFaults(plugin: string, schema: TObject): readonly string[] {
  return Object.entries(schema.properties).flatMap(([key, property]) => {
    if (!TypeGuard.IsSchema(property)) {
      return [`config.${key} is no schema; make it with Type.String(), Type.Integer() …`]
    }
    return defaultFaults(plugin, key, property)
  })
}

function defaultFaults(plugin: string, key: string, property: TSchema): readonly string[] {
  const hasDefault = property.default !== undefined
  try {
    // Without a value the default is taken, so whatever is refused then is the default's fault.
    resolveConfig(plugin, Type.Object({ [key]: property }), hasDefault ? {} : { [key]: SOMETHING })
    return []
  } catch (thrown) {
    const message = messageOf(thrown)
    const isOfValue = !hasDefault && message.startsWith("plugins.configs.")
    return isOfValue
      ? []
      : [`config.${key}: its ${hasDefault ? "default" : "schema"} does not fit: ${message}`]
  }
}

/** Any value: a schema that cannot be used fails with each, such as one whose pattern is no regular expression. */
const SOMETHING = ""
