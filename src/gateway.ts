/** The composition root: a configuration goes in, a running gateway comes out. The one file that knows everything. */
import { systemClock } from "./clock.ts"
import { discoverOllama, discoverProviders } from "./config/discover.ts"
import type { JsonObject } from "./config/edit.ts"
import type { LoadedConfig } from "./config/load.ts"
import type { Config } from "./config/schema.ts"
import { messageOf } from "./errors.ts"
import { createApp, type Surface } from "./http/app.ts"
import { type Listener, listen } from "./http/server.ts"
import { compileSettings, refuseOpenBind } from "./http/settings.ts"
import { createCanaryViews, type View } from "./http/view.ts"
import { CallMetrics } from "./pipeline/call-metrics.ts"
import type { PluginInstance } from "./plugin/instance.ts"
import { createLimiter } from "./plugin/limiter.ts"
import { PointBook } from "./plugin/point.ts"
import type { Snapshot } from "./plugin/snapshot.ts"
import { createPluginWatcher, type PluginWatcher } from "./plugin/watcher.ts"
import { type ConfigFile, createConfigurator } from "./plugin-configurator.ts"
import { createPluginHost, defaultProbation, pluginDirectory, pluginSettings } from "./plugin-host.ts"
import { closest } from "./protocol/similar.ts"
import { Catalog } from "./routing/catalog.ts"
import { LatencyBook } from "./routing/latency.ts"
import { pluginProvider, type RoutedProvider } from "./routing/provider.ts"
import type { RootLogger } from "./telemetry/logger.ts"
import { startProcessMetrics } from "./telemetry/process-metrics.ts"
import { MetricStore } from "./telemetry/store.ts"
import { createTransport } from "./upstream/transport.ts"
import { openAiProvider } from "./upstream-provider.ts"

export interface GatewayOptions {
  readonly loaded: LoadedConfig
  /** Reads the configuration again. */
  readonly reloadConfig: () => LoadedConfig
  readonly configFile: ConfigFile
  readonly env: Readonly<Record<string, string | undefined>>
  readonly version: string
  readonly log: RootLogger
}

export interface Gateway {
  readonly url: string
  readonly adminUrl: string
  /** Loads the plugins and opens the listeners. @throws GatewayError `bind_refused` */
  start(): Promise<void>
  /** Reads the configuration again. @throws GatewayError `config_invalid`; then nothing has changed */
  reload(reason: string): Promise<void>
  /** Stops taking requests, lets the open ones finish, then stops the plugins. */
  stop(options?: { readonly drainMs?: number }): Promise<void>
}

export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const { env, version, log } = options
  const clock = systemClock
  const metrics = new MetricStore()
  const stopProcessMetrics = startProcessMetrics(metrics, { version })
  const transport = createTransport({ clock, env })
  const upstream = { transport, version }
  const latency = new LatencyBook()
  const lifetime = new AbortController()

  let { config } = options.loaded
  let configured = configuredProviders(config)
  let ollama: readonly RoutedProvider[] = []
  let settings = compileSettings(config)
  let isReady = false
  let listeners: readonly Listener[] = []
  let watcher: PluginWatcher | undefined

  const points = new PointBook({ clock, log, metrics, withdraw })
  const registry = createPluginHost({
    loaded: options.loaded,
    log,
    metrics,
    points,
    entry: (name) => pluginSettings(config, name),
    probation: () => defaultProbation(config),
    onSwap: (snapshot) => {
      view = compileView(snapshot)
    },
    onEvent: (event) => view.snapshot.observe("onPluginLoad", () => event),
    onMetric: (metric) => view.snapshot.observe("onMetric", () => metric),
    onCacheEvent: (event) => view.snapshot.observe("onCacheEvent", () => event),
  })
  let view = compileView(registry.current)
  const canaryViews = createCanaryViews(compileView)
  /** A change of the configuration waits for the one before it. */
  const inTurn = createLimiter(1)
  const configure = createConfigurator({ registry, log, file: options.configFile, reload: applyConfig })
  const deps = {
    version,
    clock,
    log,
    metrics,
    activeRequests: metrics.gauge("http.server.active_requests", {}),
    call: { clock, log, latency, metrics: new CallMetrics(metrics) },
    registry,
    points,
    configurePlugin: (name: string, patch: JsonObject) => inTurn(() => configure(name, patch)),
    view: () => (view.snapshot.canaries === undefined ? view : canaryViews(view)),
    isReady: () => isReady,
  }

  return {
    get url() {
      return listeners[0]?.url ?? ""
    },
    get adminUrl() {
      return listeners.at(-1)?.url ?? ""
    },
    start,
    reload: (reason) => inTurn(() => applyConfig(reason)),
    stop,
  }

  async function start(): Promise<void> {
    refuseOpenBind(config)
    await loadPlugins()
    listeners = openListeners(config)
    isReady = true
    if (config.providers.length === 0) void findOllama()
  }

  function openListeners({ server, admin }: Config): readonly Listener[] {
    if (admin.listen === "") return [open("both", server.host, server.port)]
    const separator = admin.listen.lastIndexOf(":")
    const host = admin.listen.slice(0, separator)
    const main = open("client", server.host, server.port)
    return [main, open("admin", host.replace(/^\[|\]$/g, ""), Number(admin.listen.slice(separator + 1)))]
  }

  function open(surface: Surface, host: string, port: number): Listener {
    return listen({ host, port, app: (connections) => createApp(surface, { ...deps, ...connections }).fetch })
  }

  async function loadPlugins(): Promise<void> {
    const { enabled, auto_load: autoLoad, hot_reload: hotReload } = config.plugins
    if (!enabled) return
    const { active, failed } = await (autoLoad ? registry.loadAll() : registry.loadBundled())
    log.info("plugins loaded", { active, failed: failed.map(({ name }) => name) })
    warnOfUnknownNames(config)
    if (!autoLoad || !hotReload) return
    const directory = pluginDirectory(options.loaded)
    const rescanIntervalMs = config.plugins.reload_interval
    watcher = createPluginWatcher({ directory, clock, log, rescanIntervalMs, sync: () => registry.sync() })
    // Nobody has to wait until changes are seen.
    void watcher.start()
  }

  function warnOfUnknownNames({ plugins }: Config): void {
    const known = registry.list().map(({ name }) => name)
    for (const name of Object.keys(plugins.configs).filter((configured) => !known.includes(configured))) {
      const [meant] = closest(name, known)
      const hint = meant === undefined ? "" : `; did you mean "${meant}"?`
      log.warn(`plugins.configs.${name}: there is no such plugin${hint}`)
    }
  }

  async function applyConfig(reason: string): Promise<void> {
    try {
      const next = options.reloadConfig()
      // The address stays as it is, so it is the running one that must not become open.
      refuseOpenBind({ ...next.config, server: config.server })
      const providers = configuredProviders(next.config)
      tellWhatNeedsRestart(config, next.config)
      config = next.config
      configured = providers
      settings = compileSettings(config)
      view = compileView(registry.current)
      await registry.applyEntries()
      metrics.counter("gateway.config.reloads", { outcome: "success" }).add()
      log.info("configuration reloaded", { reason })
    } catch (thrown) {
      metrics.counter("gateway.config.reloads", { outcome: "failure" }).add()
      throw thrown
    }
  }

  async function stop({ drainMs = config.server.drain_timeout } = {}): Promise<void> {
    isReady = false
    const deadline = clock.sleep(drainMs, lifetime.signal).catch(() => {})
    await watcher?.stop()
    await Promise.race([Promise.all(listeners.map((listener) => listener.drain())), deadline])
    lifetime.abort()
    await Promise.all(listeners.map((listener) => listener.close()))
    await registry.shutdownAll()
    transport.close()
    stopProcessMetrics()
  }

  /** For `on_error: disable`. */
  function withdraw(instance: PluginInstance, reason: string): void {
    try {
      registry.withdraw(instance, reason)
    } catch (thrown) {
      const { name: plugin } = instance
      log.warn("a failing plugin could not be switched off", { plugin, reason: messageOf(thrown) })
    }
  }

  function compileView(snapshot: Snapshot): View {
    const providers = new Map([...configured, ...ollama].map((provider) => [provider.name, provider]))
    for (const instance of snapshot.providers) {
      if (!providers.has(instance.name)) providers.set(instance.name, pluginProvider(instance))
      else
        log.warn("a provider plugin has the name of a configured provider, which is used", {
          plugin: instance.name,
        })
    }
    const catalog = new Catalog({ providers: [...providers.values()], aliases: config.models })
    return { snapshot, catalog, settings }
  }

  function configuredProviders({ providers }: Config): readonly RoutedProvider[] {
    const known = providers.length > 0 ? providers : discoverProviders(env)
    return known.map((provider) => openAiProvider(provider, upstream))
  }

  /** A local Ollama is looked for beside the start, which does not wait for it. */
  async function findOllama(): Promise<void> {
    const found = await discoverOllama({ env, signal: lifetime.signal })
    if (found === undefined || config.providers.length > 0) return
    ollama = [openAiProvider(found, upstream)]
    view = compileView(view.snapshot)
    log.info("found a local Ollama", { models: found.models.length })
  }

  function tellWhatNeedsRestart(old: Config, next: Config): void {
    const names = FIXED_AT_START.filter((name) => settingOf(old, name) !== settingOf(next, name))
    if (names.length > 0) log.warn(`${names.join(", ")} changed; restart to apply`)
  }
}

/** What a reload does not apply. */
const FIXED_AT_START = [
  "server.host",
  "server.port",
  "admin.listen",
  "plugins.enabled",
  "plugins.directory",
  "plugins.auto_load",
  "plugins.hot_reload",
  "plugins.reload_interval",
  "plugins.max_plugins",
  "plugins.timeout",
  "plugins.max_concurrent",
  "plugins.drain_timeout",
] as const

function settingOf(config: Config, name: (typeof FIXED_AT_START)[number]): unknown {
  const [section, key] = name.split(".") as ["server" | "admin" | "plugins", string]
  return (config[section] as Readonly<Record<string, unknown>>)[key]
}
