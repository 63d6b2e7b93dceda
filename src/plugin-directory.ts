import type { Clock } from "./clock.ts"
import type { LoadedConfig } from "./config/load.ts"
import type { PluginRegistry } from "./plugin/registry.ts"
import { pluginDirectory } from "./plugin-settings.ts"
import { closest } from "./protocol/similar.ts"
import { createPluginWatcher, type PluginWatcher } from "./source/watcher.ts"
import type { Logger } from "./telemetry/logger.ts"

interface DirectoryOptions {
  /** As it is at the start: a later one changes nothing here. */
  readonly loaded: LoadedConfig
  readonly registry: PluginRegistry
  readonly clock: Clock
  readonly log: Logger
}

/** Loads the plugins at the start and watches their directory, as far as the configuration wants either. */
export class PluginDirectory {
  readonly #options: DirectoryOptions
  #isLoaded = false
  #watcher: PluginWatcher | undefined

  constructor(options: DirectoryOptions) {
    this.#options = options
  }

  /** Whether its plugins and packages are loaded at all. */
  get isLoaded(): boolean {
    return this.#isLoaded
  }

  /** Whether changes in it are followed. */
  get isWatched(): boolean {
    return this.#watcher !== undefined
  }

  async load(): Promise<void> {
    const { loaded, registry, clock, log } = this.#options
    const { enabled, auto_load: autoLoad, hot_reload: hotReload } = loaded.config.plugins
    if (!enabled) return
    this.#isLoaded = autoLoad
    const { active, failed } = await (autoLoad ? registry.loadAll() : registry.loadBundled())
    log.info("plugins loaded", { active, failed: failed.map(({ name }) => name) })
    this.#warnOfUnknownNames()
    if (!autoLoad || !hotReload) return
    const directory = pluginDirectory(loaded)
    const rescanIntervalMs = loaded.config.plugins.reload_interval
    const sync = () => registry.sync()
    this.#watcher = createPluginWatcher({ directory, clock, log, rescanIntervalMs, sync })
    // Nobody has to wait until changes are seen.
    void this.#watcher.start()
  }

  async stop(): Promise<void> {
    await this.#watcher?.stop()
  }

  #warnOfUnknownNames(): void {
    const { loaded, registry, log } = this.#options
    const known = registry.list().map(({ name }) => name)
    for (const name of Object.keys(loaded.config.plugins.configs)) {
      if (known.includes(name)) continue
      const [meant] = closest(name, known)
      const hint = meant === undefined ? "" : `; did you mean "${meant}"?`
      log.warn(`plugins.configs.${name}: there is no such plugin${hint}`)
    }
  }
}
