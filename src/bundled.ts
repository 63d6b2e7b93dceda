/** The plugins that ship with the gateway. They are compiled into the binary; from source they lie in `plugins/`. */
import { join } from "node:path"
import exampleProvider from "../plugins/example-provider.ts"
import modelRouter from "../plugins/model-router.ts"
import rateLimiter from "../plugins/rate-limiter.ts"
import type { PluginDefinition } from "./plugin/contract.ts"

export interface BundledPlugin {
  readonly definition: PluginDefinition
  /** Where its source lies when the gateway runs from source. */
  readonly file: string
}

export function bundledPlugins(): readonly BundledPlugin[] {
  const definitions = [
    exampleProvider,
    modelRouter,
    rateLimiter,
  ] as readonly unknown[] as readonly PluginDefinition[]
  return definitions.map((definition) => ({
    definition,
    file: join(import.meta.dir, "../plugins", `${definition.name}.ts`),
  }))
}
