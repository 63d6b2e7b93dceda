/** Changes a plugin's settings in the config file, and in the plugin that runs. */
import { readFileSync } from "node:fs"
import { type JsonObject, patchYaml } from "./config/edit.ts"
import { describeFault, type Fault } from "./config/faults.ts"
import { inFileTurn } from "./config/file-turn.ts"
import type { LoadedConfig } from "./config/load.ts"
import { replaceFile } from "./config/replace-file.ts"
import { GatewayError, messageOf } from "./errors.ts"
import { resolveConfig } from "./plugin/plugin-config.ts"
import type { PluginRegistry } from "./plugin/registry.ts"
import { pluginSettings } from "./plugin-settings.ts"
import type { Logger } from "./telemetry/logger.ts"

/** The config file, for who changes it. */
export interface ConfigFile {
  /** Where it is, or will be once it is written. */
  path(): string
  /** Reads it, or this text as if it were in it. @throws GatewayError `config_invalid` */
  load(text?: string): LoadedConfig
}

interface ConfiguratorOptions {
  readonly registry: PluginRegistry
  readonly file: ConfigFile
  readonly log: Logger
  /** Applies the file as it is. */
  reload(reason: string): Promise<void>
  /** The same, where that was not done yet. */
  follow(reason: string): Promise<void>
}

/**
 * Makes what applies a JSON Merge Patch to `plugins.configs.<name>.config`: checked as a whole, written, set up. Where
 * the plugin cannot be set up with it, the file is put back. Two calls must not overlap.
 * @throws GatewayError `plugin_not_found`, `plugin_config_invalid`, `plugin_conflict`, or why the plugin failed
 */
export function createConfigurator({ registry, file, log, reload, follow }: ConfiguratorOptions) {
  return async function configurePlugin(name: string, patch: JsonObject): Promise<void> {
    const { bundled, version, error: oldError } = registry.getInfo(name)
    if (version === null) {
      throw new GatewayError(
        "plugin_conflict",
        `what settings plugin "${name}" has is not known, because its file cannot be read: ${oldError?.message ?? "it is being loaded"}`,
      )
    }
    const path = file.path()
    const { old, text } = await inFileTurn(path, () => {
      const before = file.load()
      // An entry switches a bundled plugin on, which is not what was asked for.
      const isFirst = bundled && pluginSettings(before.config, name) === undefined
      const entry = { ...(isFirst && { enabled: false }), config: patch }
      const patched = patchYaml(before.text, { plugins: { configs: { [name]: entry } } })
      check(name, patched)
      if (patched !== before.text) write(path, patched)
      return { old: before.text, text: patched }
    })
    // Another process may just have written it.
    if (text === old) return follow(`the settings of plugin "${name}" were changed`)

    try {
      await reload(`the settings of plugin "${name}" were changed`)
      const { error } = registry.getInfo(name)
      if (error !== null && error.at !== oldError?.at) {
        throw new GatewayError(error.code, error.message, { details: error.details })
      }
    } catch (thrown) {
      await putBack({ path, text, old })
      throw thrown
    }
  }

  function check(name: string, text: string): void {
    const { config } = loadPatched(name, text)
    resolveConfig(name, registry.configSchema(name), pluginSettings(config, name)?.config)
  }

  /** The file was fine before, so what is wrong with it now came with the patch. */
  function loadPatched(name: string, text: string): LoadedConfig {
    try {
      return file.load(text)
    } catch (thrown) {
      if (!(thrown instanceof GatewayError) || thrown.code !== "config_invalid") throw thrown
      const { faults } = thrown.details as { readonly faults: readonly Fault[] }
      const sentences = faults.map(describeFault)
      const message = `plugins.configs.${name}.config: ${sentences.join("; ")}`
      throw new GatewayError("plugin_config_invalid", message, { details: { faults: sentences } })
    }
  }

  async function putBack({ path, text, old }: { path: string; text: string; old: string }) {
    try {
      const isBack = await inFileTurn(path, () => {
        // Somebody may have saved the file in the meantime.
        if (readFileSync(path, "utf8") !== text) return false
        replaceFile(path, old)
        return true
      })
      if (isBack) await reload("settings that failed were taken back")
    } catch (thrown) {
      log.error("the config file could not be put back", { path, error: messageOf(thrown) })
    }
  }
}

function write(path: string, text: string): void {
  try {
    // Keys may come to stand in it.
    replaceFile(path, text, { newMode: 0o600 })
  } catch (thrown) {
    throw new GatewayError("plugin_conflict", `${path} cannot be written: ${messageOf(thrown)}`, {
      cause: thrown,
    })
  }
}
