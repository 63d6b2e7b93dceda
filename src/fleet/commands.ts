/**
 * Operations on plugins as plain data, so that one process can have the others do what it did. A new one gets a
 * member of the union and a case below; what it changes for good belongs into `PluginRegistry.overrides` too. Each
 * may be run again where it was done, and may come to a process that has done it by itself: then it does nothing.
 */
import type { CacheKeeper } from "../plugin/cache-keeper.ts"
import type { PluginRegistry } from "../plugin/registry.ts"
import type { ReleaseKey, Step } from "../plugin/release-key.ts"

export type PluginCommand = { readonly name: string } & (
  | { readonly op: "enable" | "reload" }
  | { readonly op: "disable"; readonly force?: boolean; readonly reason?: string }
  /** With a reason: it was taken back by itself. */
  | { readonly op: "rollback"; readonly step: Step; readonly reason?: string }
  | { readonly op: "promote"; readonly to: ReleaseKey }
  /** The configuration says something else about it: read it again. */
  | { readonly op: "configure" }
  | { readonly op: "clear-cache" }
  | { readonly op: "delete-cached"; readonly key: string }
)

/** Whether it leaves the plugin as it is: then the order among commands makes no difference to it. */
export function isOfContent({ op }: PluginCommand): boolean {
  return op === "clear-cache" || op === "delete-cached"
}

/** What commands are run on. */
export interface CommandServices {
  readonly registry: PluginRegistry
  readonly caches: CacheKeeper
  /** Reads the configuration, where it has changed, and has the plugin set up for it. */
  readonly configure: (plugin: string) => Promise<void>
}

/**
 * @returns whether it found what it is about
 * @throws GatewayError why it was not done
 */
export async function runCommand(services: CommandServices, command: PluginCommand): Promise<boolean> {
  const { registry, caches, configure } = services
  const { name } = command
  switch (command.op) {
    case "enable":
      await registry.enable(name)
      return true
    case "reload":
      await registry.reload(name)
      return true
    case "disable": {
      const { force = false, reason } = command
      registry.disable(name, { force, ...(reason !== undefined && { reason }) })
      return true
    }
    case "rollback":
      await registry.rollback(name, command)
      return true
    case "promote":
      await registry.promote(name, command.to)
      return true
    case "configure":
      await configure(name)
      return true
    case "clear-cache":
      await caches.clear(name)
      return true
    case "delete-cached":
      return caches.delete(name, command.key)
  }
}
