/** Installs a package into the plugin directory's node_modules, and lists it in the config if it is a plugin. */
import type { LoadedConfig } from "../config/load.ts"
import { GatewayError, messageOf } from "../errors.ts"
import type { LockablePlugin } from "../plugin/catalogue.ts"
import { readLockable } from "../plugin-reader.ts"
import { pluginDirectory } from "../plugin-settings.ts"
import { listPackage } from "./config-packages.ts"
import { updateLock } from "./lock-file.ts"
import { whatNext } from "./next-step.ts"
import { addPackage, installedVersion, removePackage } from "./package-manager.ts"
import type { Terminal } from "./terminal.ts"

interface InstallPackageOptions {
  /** A name, with a version or a tag behind an `@` or not. */
  readonly spec: string
  readonly loaded: LoadedConfig
}

const SPEC = /^((?:@[a-z0-9][a-z0-9._~-]*\/)?[a-z0-9][a-z0-9._~-]*)(?:@[^\s/:]+)?$/

export async function installPackage(
  { spec, loaded }: InstallPackageOptions,
  terminal: Terminal,
): Promise<void> {
  const [, name] = SPEC.exec(spec) ?? []
  if (name === undefined) {
    throw new GatewayError(
      "plugin_load_failed",
      `"${spec}" is neither a file or folder nor the name of a package`,
    )
  }
  const { out, env } = terminal
  const directory = pluginDirectory(loaded)
  const before = installedVersion(name, directory)
  await addPackage(spec, { directory, env })
  try {
    const version = installedVersion(name, directory)
    const wanted = `${name}@${version}`
    const plugin = await readPackage(loaded, name, wanted)
    const next = listPackage(loaded, wanted, terminal)
    out(`installed ${plugin.name} ${plugin.entry?.version} from ${wanted} into ${directory}/node_modules`)
    out(next === loaded ? `${next.path} lists it already` : `added it to plugins.packages in ${next.path}`)
    if (await updateLock(next, plugin.name)) out("updated plugins.lock")
    out(whatNext(next, plugin.name))
  } catch (thrown) {
    await undo({ name, before, directory, env })
    const code = thrown instanceof GatewayError ? thrown.code : "plugin_load_failed"
    throw new GatewayError(code, `it was not installed: ${messageOf(thrown)}`, { cause: thrown })
  }
}

/** Reads the package as a plugin, beside all others. @throws GatewayError why it is none */
async function readPackage(loaded: LoadedConfig, name: string, wanted: string): Promise<LockablePlugin> {
  const { config } = loaded
  const others = config.plugins.packages.filter((other) => !other.startsWith(`${name}@`))
  const plugins = { ...config.plugins, packages: [...others, wanted] }
  const found = await readLockable({ ...loaded, config: { ...config, plugins } })
  const plugin = found.find(({ source }) => source === `package:${name}`)
  if (plugin?.entry !== undefined) return plugin
  throw new GatewayError("plugin_load_failed", plugin?.error ?? `package "${name}" is no plugin`)
}

interface UndoOptions {
  readonly name: string
  /** The version that was there. */
  readonly before: string | undefined
  readonly directory: string
  readonly env: Terminal["env"]
}

/** What failed is told; that it could not be undone would only hide it. */
async function undo({ name, before, directory, env }: UndoOptions): Promise<void> {
  const options = { directory, env }
  const work = before === undefined ? removePackage(name, options) : addPackage(`${name}@${before}`, options)
  await work.catch(() => {})
}
