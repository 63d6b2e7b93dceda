/** Which plugin a command line means: a path, or the name of one in the plugin directory. */
import { existsSync } from "node:fs"
import { basename, dirname, join, resolve, sep } from "node:path"
import type { LoadedConfig } from "../config/load.ts"
import { GatewayError } from "../errors.ts"
import { type ListedPlugin, listPlugins } from "../plugin-reader.ts"
import { pluginDirectory } from "../plugin-settings.ts"
import { closest } from "../protocol/similar.ts"
import { discoverPlugins, type PluginSource, pluginAt } from "../source/discover.ts"

/**
 * The plugins that are meant; all of the directory where none is named.
 * @throws GatewayError `plugin_not_found`
 */
export async function pluginTargets(
  targets: readonly string[],
  loaded: LoadedConfig,
  cwd: string,
): Promise<readonly PluginSource[]> {
  if (targets.length === 0) return discoverPlugins(pluginDirectory(loaded))
  return Promise.all(targets.map((target) => pluginTarget(target, loaded, cwd)))
}

/** @throws GatewayError `plugin_not_found` */
export async function pluginTarget(target: string, loaded: LoadedConfig, cwd: string): Promise<PluginSource> {
  const byPath = await pluginAt(resolve(cwd, target))
  if (byPath !== undefined) return byPath
  const directory = pluginDirectory(loaded)
  const sources = await discoverPlugins(directory)
  const byFile = sources.find(({ name }) => name === target)
  if (byFile !== undefined) return byFile
  // A definition may have another name than its file.
  const listed = await listPlugins(loaded)
  const byName = listed.find(({ name }) => name === target)
  const source = sources.find(({ file }) => file === byName?.source)
  if (source !== undefined) return source
  if (byName !== undefined) throw noFile(byName)
  throw notFound(target, directory, sources)
}

function noFile({ name, source }: ListedPlugin): GatewayError {
  const why = source.startsWith("bundled:")
    ? "comes with the gateway and has no file here"
    : `is at ${source}`
  return new GatewayError("plugin_not_found", `plugin "${name}" ${why}; give a path`)
}

function notFound(target: string, directory: string, known: readonly PluginSource[]): GatewayError {
  const [meant] = closest(
    target,
    known.map(({ name }) => name),
  )
  const hint = meant === undefined ? "" : `; did you mean "${meant}"?`
  return new GatewayError(
    "plugin_not_found",
    `there is no plugin at ${target}, and none of this name in ${directory}${hint}`,
  )
}

/** The folder that a plugin's modules are found from: the plugin directory, unless it lies elsewhere. */
export function homeOf({ file }: PluginSource, pluginDirectory: string): string {
  return file.startsWith(`${pluginDirectory}${sep}`) ? pluginDirectory : dirname(file)
}

/** The tests of a plugin: those of its folder, or the one beside its file. */
export function testsOf({ file }: PluginSource, pluginDirectory: string): readonly string[] {
  const folder = dirname(file)
  const stem = basename(file).replace(/\.\w+$/, "")
  const isFolder = folder !== pluginDirectory && ["index", "plugin"].includes(stem)
  return testsIn(folder, isFolder ? "**/*" : stem)
}

export function testsIn(folder: string, stem = "**/*"): readonly string[] {
  if (!existsSync(folder)) return []
  const glob = new Bun.Glob(`${stem}.{test,spec}.{ts,js,mts,mjs}`)
  return [...glob.scanSync({ cwd: folder })]
    .filter((file) => !file.includes("node_modules"))
    .map((file) => join(folder, file))
    .sort()
}
