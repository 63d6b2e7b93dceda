/** What the admin API tells of all processes that serve together. Alone, a process asks nobody. */

import { identityOf, mergeInfo } from "../fleet/merged-info.ts"
import { type HookReading, mergeHooks, readHooks } from "../plugin/hook-stats.ts"
import type { PluginInfo } from "../plugin/plugin-info.ts"
import type { HttpDeps } from "./deps.ts"

export async function gatherPlugins({ fleet, registry }: HttpDeps): Promise<readonly PluginInfo[]> {
  return fleet.isAlone ? registry.list() : mergeInfo(await fleet.gather({ about: "plugins" }))
}

/** @throws GatewayError `plugin_not_found` */
export async function gatherPlugin(deps: HttpDeps, name: string): Promise<PluginInfo> {
  const own = deps.registry.getInfo(name)
  if (deps.fleet.isAlone) return own
  const plugins = await gatherPlugins(deps)
  return plugins.find((plugin) => identityOf(plugin) === identityOf(own)) ?? own
}

export async function gatherHooks({ fleet, points, view }: HttpDeps): Promise<HookReading> {
  if (fleet.isAlone) return readHooks(points, view().snapshot)
  const readings = await fleet.gather({ about: "hooks" })
  return mergeHooks(readings.flatMap(({ value }) => (value === undefined ? [] : [value])))
}
