/** The plugins that ship with the gateway. They are compiled into the binary; from source they lie in `plugins/`. */
import { join } from "node:path"
import exampleProvider from "../plugins/example-provider.ts"
import jwtAuth from "../plugins/jwt-auth.ts"
import memoryCache from "../plugins/memory-cache.ts"
import modelRouter from "../plugins/model-router.ts"
import piiRedactor from "../plugins/pii-redactor.ts"
import rateLimiter from "../plugins/rate-limiter.ts"
import webhookEvents from "../plugins/webhook-events.ts"
import type { PluginDefinition } from "./plugin/contract.ts"
import type { BundledPlugin } from "./plugin/sources.ts"

export function bundledPlugins(): readonly BundledPlugin[] {
  const definitions = [
    exampleProvider,
    jwtAuth,
    memoryCache,
    modelRouter,
    piiRedactor,
    rateLimiter,
    webhookEvents,
  ] as readonly unknown[] as readonly PluginDefinition[]
  return definitions.map((definition) => ({
    definition,
    file: join(import.meta.dir, "../plugins", `${definition.name}.ts`),
  }))
}
