/**
 * Modules that plugins share with the host. They are `external` when a plugin is built and answered from
 * here when it is imported, so that both sides see the same classes, symbols and registries.
 */
import * as typebox from "@sinclair/typebox"
import * as typeboxValue from "@sinclair/typebox/value"
import * as sdk from "./sdk.ts"

const MODULES = {
  "leapgate/plugin": sdk,
  "@sinclair/typebox": typebox,
  "@sinclair/typebox/value": typeboxValue,
} as const satisfies Record<string, object>

export const HOST_MODULES: readonly string[] = Object.keys(MODULES)

/** Makes the host's instances answer these imports, in the whole process. Called once, before any plugin is loaded. */
export function registerHostModules(): void {
  Bun.plugin({
    name: "leapgate-host-modules",
    setup(build) {
      for (const [name, exports] of Object.entries(MODULES)) {
        build.module(name, () => ({ exports, loader: "object" }))
      }
    },
  })
}
