import { DEFAULT_FILE, type LoadedConfig } from "../config/load.ts"

/** What is left to do after a plugin was installed. */
export function whatNext({ path, config }: LoadedConfig, name: string): string {
  const { enabled, auto_load: autoLoad, hot_reload: hotReload, configs } = config.plugins
  const file = path ?? DEFAULT_FILE
  if (!enabled || !autoLoad) {
    return `plugins.${enabled ? "auto_load" : "enabled"} is false in ${file}, so it does not load; switch that on and restart`
  }
  if (configs[name]?.enabled === false) return `it is switched off: plugins.configs.${name} in ${file}`
  const when = hotReload ? "a running gateway loads it by itself" : "restart the gateway to load it"
  return `${when}; its settings go to plugins.configs.${name} in ${file}`
}
