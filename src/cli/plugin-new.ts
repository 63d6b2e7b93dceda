import { existsSync } from "node:fs"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { loadConfig } from "../config/load.ts"
import { GatewayError } from "../errors.ts"
import type { PluginType } from "../plugin/contract.ts"
import { checkDefinition } from "../plugin/validate.ts"
import { listPlugins } from "../plugin-reader.ts"
import { pluginDirectory } from "../plugin-settings.ts"
import { bringTypes } from "./plugin-types.ts"
import type { ConfigOption } from "./program.ts"
import { type Files, sdkArchive } from "./sdk-archive.ts"
import { writeFiles } from "./sdk-install.ts"
import type { Terminal } from "./terminal.ts"

interface NewPluginOptions extends ConfigOption {
  readonly type: PluginType
}

/** Writes a working plugin of a type and its test. What is there already stays. */
export async function newPlugin(
  name: string,
  { type, config: path }: NewPluginOptions,
  { env, cwd, out }: Terminal,
): Promise<number> {
  checkDefinition({ name, version: "1.0.0", type, setup() {} }, "this command")
  const loaded = loadConfig({ path, env, cwd })
  const directory = pluginDirectory(loaded)
  const { templates } = await sdkArchive()
  const files = pluginFiles(templates, type, name)
  const taken = Object.keys(files)
    .map((file) => join(directory, file))
    .find((file) => existsSync(file))
  if (taken !== undefined)
    throw new GatewayError("plugin_conflict", `${taken} is there already; choose another name`)
  const known = (await listPlugins(loaded)).find((plugin) => plugin.name === name)
  if (known !== undefined) {
    throw new GatewayError(
      "plugin_conflict",
      `a plugin called "${name}" is there already, from ${known.source}; choose another name`,
    )
  }
  await mkdir(directory, { recursive: true })
  await writeFiles(directory, files)
  for (const file of Object.keys(files)) out(`wrote ${join(directory, file)}`)
  for (const sentence of await bringTypes(directory)) out(sentence)
  out(nextSteps(name, path))
  if (type === "auth") out(AUTH_NOTE)
  return 0
}

/** The template's plugin under another name. */
function pluginFiles(templates: Files, type: PluginType, name: string): Files {
  const renamed = (text = "") =>
    text
      .replaceAll(`template-${type}`, name)
      .replaceAll("template_", `${metricName(name)}_`)
      .replaceAll(`./${type}.ts`, `./${name}.ts`)
  return {
    [`${name}.ts`]: renamed(templates[`${type}.ts`]),
    [`${name}.test.ts`]: renamed(templates[`${type}.test.ts`]),
  }
}

/** The name of a metric has no dashes and no digit in front. */
const metricName = (name: string): string => name.replaceAll("-", "_").replace(/^(?=\d)/, "_")

const AUTH_NOTE =
  "While an auth plugin is enabled, callers on this machine need a credential too. Until its settings are there, it knows none."

function nextSteps(name: string, config: string | undefined): string {
  const flag = config === undefined ? "" : ` --config ${config}`
  return `
A gateway that runs here serves it already. Next:
  leapgate plugin test ${name}${flag}     run its test
  leapgate plugin verify ${name}${flag}   check its types and its config
  leapgate plugin bench ${name}${flag}    what it costs
Its settings go under plugins.configs.${name}.config of the config file.`.trimEnd()
}
