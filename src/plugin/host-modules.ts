/**
 * Answers plugins' imports of the modules that they share with the host, so that both sides see the same classes,
 * symbols and registries.
 */
import * as typebox from "@sinclair/typebox"
import * as typeboxValue from "@sinclair/typebox/value"
import type { HostModule } from "../source/host-module-names.ts"
import * as sdk from "./sdk.ts"

const MODULES = {
  "leapgate/plugin": sdk,
  "@sinclair/typebox": typebox,
  "@sinclair/typebox/value": typeboxValue,
} as const satisfies Record<HostModule, object>

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
