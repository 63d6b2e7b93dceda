import { rm } from "node:fs/promises"
import { type LoadedConfig, loadConfig } from "../config/load.ts"
import { GatewayError } from "../errors.ts"
import { type ListedPlugin, listPlugins, unlocked } from "../plugin-reader.ts"
import { pluginDirectory } from "../plugin-settings.ts"
import { discoverPlugins } from "../source/discover.ts"
import { findPackage } from "../source/packages.ts"
import { unlistPackage } from "./config-packages.ts"
import { updateLock } from "./lock-file.ts"
import { installedVersion, removePackage } from "./package-manager.ts"
import { testsOf } from "./plugin-target.ts"
import type { ConfigOption } from "./program.ts"
import type { Terminal } from "./terminal.ts"

/** Takes a plugin out of the directory: its file or folder, or its package. */
export async function removePlugin(
  name: string,
  { config: path }: ConfigOption,
  terminal: Terminal,
): Promise<number> {
  const { out, env, cwd } = terminal
  const loaded = loadConfig({ path, env, cwd })
  const packages = await packagesOf(loaded)
  const plugins = await listPlugins(unlocked(loaded))
  const plugin = packages.has(name)
    ? find(packages.get(name) ?? "", plugins, "source")
    : find(name, plugins, "name")
  const [packageName] = [...packages].find(([, file]) => file === plugin.source) ?? []
  const next = packageName === undefined ? loaded : await takePackage(loaded, packageName, terminal)
  if (packageName === undefined) for (const path of await deleteFiles(loaded, plugin)) out(`removed ${path}`)
  if (await updateLock(next, plugin.name)) out("updated plugins.lock")
  if (Object.hasOwn(next.config.plugins.configs, plugin.name)) {
    out(`its settings are left: plugins.configs.${plugin.name} in ${next.path ?? "the config"}`)
  }
  return 0
}

function find(name: string, plugins: readonly ListedPlugin[], fact: "name" | "source"): ListedPlugin {
  const found = plugins.filter((plugin) => plugin[fact] === name)
  const [plugin, second] = found
  if (plugin === undefined) {
    const message = `no plugin is called "${name}"; \`leapgate plugin list\` has their names`
    throw new GatewayError("plugin_not_found", message)
  }
  if (plugin.bundled) {
    const message = `plugin "${name}" comes with the gateway and cannot be removed; switch it off with plugins.configs.${name}.enabled: false`
    throw new GatewayError("plugin_conflict", message)
  }
  if (second === undefined) return plugin
  const sources = found.map(({ source }) => source).join(" and ")
  throw new GatewayError(
    "plugin_conflict",
    `several plugins are called "${name}": ${sources}; delete one by hand`,
  )
}

/** The packages of the config, with their entry files. */
async function packagesOf(loaded: LoadedConfig): Promise<ReadonlyMap<string, string>> {
  const directory = pluginDirectory(loaded)
  const found = await Promise.all(loaded.config.plugins.packages.map((spec) => findPackage(directory, spec)))
  return new Map(found.map(({ package: { name }, file }) => [name, file]))
}

/** First out of the config: a gateway that runs lets go of it before its files do. */
async function takePackage(loaded: LoadedConfig, name: string, terminal: Terminal): Promise<LoadedConfig> {
  const { out, env } = terminal
  const directory = pluginDirectory(loaded)
  const next = unlistPackage(loaded, name, terminal)
  out(`took ${name} out of plugins.packages in ${next.path}`)
  if (installedVersion(name, directory) !== undefined) {
    await removePackage(name, { directory, env })
    out(`removed ${name} from ${directory}/node_modules`)
  }
  return next
}

/** With the tests that lie beside a file: they would fail without it, and keep a new plugin from its name. */
async function deleteFiles(loaded: LoadedConfig, { source }: ListedPlugin): Promise<readonly string[]> {
  const directory = pluginDirectory(loaded)
  const plugin = (await discoverPlugins(directory)).find(({ file }) => file === source)
  const { path = source } = plugin ?? {}
  const tests = plugin === undefined || path !== source ? [] : testsOf(plugin, directory)
  const paths = [path, ...tests]
  for (const each of paths) await rm(each, { recursive: true, force: true })
  return paths
}
