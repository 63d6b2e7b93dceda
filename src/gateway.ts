/** The composition root: a configuration goes in, a running gateway comes out. The one file that knows everything. */
import { systemClock } from "./clock.ts"
import type { JsonObject } from "./config/edit.ts"
import type { LoadedConfig } from "./config/load.ts"
import { needsRestart } from "./config/needs-restart.ts"
import { messageOf } from "./errors.ts"
import { createFleet, type Peers } from "./fleet/fleet.ts"
import { createReader } from "./fleet/own-readings.ts"
import { openListeners } from "./http/listeners.ts"
import type { Listener, Sharing } from "./http/server.ts"
import { compileSettings, refuseOpenBind } from "./http/settings.ts"
import { createCanaryViews, type View } from "./http/view.ts"
import { CallMetrics } from "./pipeline/call-metrics.ts"
import { CacheKeeper } from "./plugin/cache-keeper.ts"
import type { CallRecorder } from "./plugin/call-recorder.ts"
import type { CacheEvent } from "./plugin/contract.ts"
import type { PluginInstance } from "./plugin/instance.ts"
import { createLimiter } from "./plugin/limiter.ts"
import { PointBook } from "./plugin/point.ts"
import type { PluginRegistry } from "./plugin/registry.ts"
import type { Overrides } from "./plugin/roster.ts"
import type { Snapshot } from "./plugin/snapshot.ts"
import { Watchdog } from "./plugin/watchdog.ts"
import { type ConfigFile, createConfigurator } from "./plugin-configurator.ts"
import { PluginDirectory } from "./plugin-directory.ts"
import { createPluginHost } from "./plugin-host.ts"
import { defaultProbation, keepsAuthPlugin, pluginSettings } from "./plugin-settings.ts"
import { Providers } from "./providers.ts"
import { Catalog } from "./routing/catalog.ts"
import { HealthBook } from "./routing/health.ts"
import { LatencyBook } from "./routing/latency.ts"
import { ProviderWatch } from "./routing/provider-watch.ts"
import type { RootLogger } from "./telemetry/logger.ts"
import { startProcessMetrics } from "./telemetry/process-metrics.ts"
import { MetricStore } from "./telemetry/store.ts"
import { createTransport } from "./upstream/transport.ts"

export interface GatewayOptions {
  readonly loaded: LoadedConfig
  /** Reads the configuration again. */
  readonly reloadConfig: () => LoadedConfig
  readonly configFile: ConfigFile
  readonly env: Readonly<Record<string, string | undefined>>
  readonly version: string
  readonly log: RootLogger
  /** Told of every call into a plugin; for tests and measurements. */
  readonly recorder?: CallRecorder
  /** Where this process is one of a supervisor's. */
  readonly membership?: Membership
}

/** A process's place among those that serve together, and in the line of those that were started before it. */
interface Membership {
  /** From 1 on; the one that is started in the place of another has its number. */
  readonly number: number
  /** None where it serves alone. */
  readonly peers: Peers | undefined
  /** Whether others have had the addresses before. */
  readonly isFurther: boolean
  /** What was switched against the configuration so far. */
  readonly overrides: Overrides | undefined
  /** Keeps that for the next ones. */
  keep(overrides: Overrides): void
}

export interface Gateway {
  readonly url: string
  readonly adminUrl: string
  /** Those it listens on. */
  readonly ports: { readonly main: number; readonly admin: number }
  readonly plugins: PluginRegistry
  /** Loads the plugins and opens the listeners. @throws GatewayError `bind_refused` */
  start(): Promise<void>
  /** Reads the configuration again. @throws GatewayError `config_invalid`; then nothing has changed */
  reload(reason: string): Promise<void>
  /** The same, where the file says something else than what was applied. */
  follow(reason: string): Promise<void>
  /** Stops taking requests, lets the open ones finish, then stops the plugins. */
  stop(options?: { readonly drainMs?: number }): Promise<void>
}

export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const { env, version, log, membership } = options
  const clock = systemClock
  const metrics = new MetricStore()
  const stopProcessMetrics = startProcessMetrics(metrics, { version })
  const transport = createTransport({ clock, env })
  const latency = new LatencyBook()
  const lifetime = new AbortController()

  let { config } = options.loaded
  /** Undefined where the last attempt failed. */
  let appliedText: string | undefined = options.loaded.text
  /** The addresses stay as they are, whatever a later configuration says. */
  const { server: bound } = config
  let settings = compileSettings(config)
  let isReady = false
  let listeners: readonly Listener[] = []

  const watchdog = new Watchdog({
    clock,
    log,
    metrics,
    limitMs: config.plugins.watchdog,
    startThread: () => new Worker(new URL("./plugin/watchdog-thread.ts", import.meta.url)),
  })
  const points = new PointBook({ clock, log, metrics, watchdog, withdraw })
  const health = new HealthBook({ clock, log, metrics })
  const watch = new ProviderWatch({
    clock,
    log,
    points,
    health,
    healthPauseMs: () => config.routing.health_check_interval,
    onModels: () => show(registry.current),
  })
  const providers = new Providers(config, {
    env,
    log,
    points,
    upstream: { transport, version },
    modelsOf: (plugin) => watch.modelsOf(plugin),
  })
  const registry = createPluginHost({
    loaded: options.loaded,
    log,
    metrics,
    points,
    recorder: options.recorder,
    entry: (name) => pluginSettings(config, name),
    packages: () => config.plugins.packages,
    probation: () => defaultProbation(config),
    onSwap: show,
    onEvent: (event) => view.snapshot.observe("onPluginLoad", () => event),
    onTakenBack: (name, step, reason) => fleet.tell({ op: "rollback", name, step, reason }),
    onMetric: (metric) => view.snapshot.observe("onMetric", () => metric),
    onCacheEvent: cacheEvent,
  })
  const directory = new PluginDirectory({ loaded: options.loaded, registry, clock, log })
  const caches = new CacheKeeper({ registry, clock, onCacheEvent: cacheEvent })
  const fleet = createFleet(
    {
      registry,
      caches,
      async configure(name) {
        await inTurn(() => followFile("another process has changed it"))
        await registry.followEntry(name)
      },
      log,
      keep: (overrides) => membership?.keep(overrides),
      read: createReader({ registry, caches, points, metrics, label: labelOf(membership) }),
      catchUp: async () => {
        // Who watches the file says what is wrong with it.
        await inTurn(() => followFile("another process may have seen it change")).catch(() => {})
        if (directory.isWatched) await registry.sync()
      },
    },
    membership?.peers,
  )
  let view = compileView(registry.current)
  const canaryViews = createCanaryViews(compileView)
  /** A change of the configuration waits for the one before it. */
  const inTurn = createLimiter(1)
  const configure = createConfigurator({
    registry,
    log,
    file: options.configFile,
    reload: applyConfig,
    follow: followFile,
  })
  const deps = {
    version,
    clock,
    log,
    metrics,
    activeRequests: metrics.gauge("http.server.active_requests", {}),
    call: { clock, log, latency, health, metrics: new CallMetrics(metrics), cacheEvent },
    registry,
    fleet,
    caches,
    points,
    configurePlugin: async (name: string, patch: JsonObject) => {
      await fleet.run({ op: "configure", name }, () => inTurn(() => configure(name, patch)))
    },
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
    get ports() {
      return { main: listeners[0]?.port ?? 0, admin: listeners.at(-1)?.port ?? 0 }
    },
    plugins: registry,
    start,
    reload: (reason) => inTurn(() => applyConfig(reason)),
    follow: (reason) => inTurn(() => followFile(reason)),
    stop,
  }

  async function start(): Promise<void> {
    if (membership?.overrides !== undefined) registry.adopt(membership.overrides)
    await directory.load()
    await fleet.join()
    try {
      refuseOpenBind(config, registry.current.auths.length > 0)
      listeners = openListeners(config, { sharing: sharingOf(membership), deps })
    } catch (thrown) {
      // What plugins opened would keep the process.
      await stop()
      throw thrown
    }
    isReady = true
    if (config.providers.length === 0) void findOllama()
  }

  async function applyConfig(reason: string): Promise<void> {
    try {
      const next = options.reloadConfig()
      // It is the running address that must not become open.
      refuseOpenBind({ ...next.config, server: bound }, keepsAuthPlugin(registry, next.config))
      const useProviders = providers.prepare(next.config)
      const fixed = needsRestart(config, next.config)
      if (fixed.length > 0) log.warn(`${fixed.join(", ")} changed; restart to apply`)
      const { packages } = config.plugins
      config = next.config
      appliedText = next.text
      useProviders()
      settings = compileSettings({ ...config, server: { ...config.server, host: bound.host } })
      show(registry.current)
      await registry.applyEntries()
      if (directory.isLoaded && !Bun.deepEquals(packages, config.plugins.packages)) await registry.sync()
      fleet.keep()
      metrics.counter("gateway.config.reloads", { outcome: "success" }).add()
      log.info("configuration reloaded", { reason })
    } catch (thrown) {
      appliedText = undefined
      metrics.counter("gateway.config.reloads", { outcome: "failure" }).add()
      throw thrown
    }
  }

  async function followFile(reason: string): Promise<void> {
    if (isFileNew()) await applyConfig(reason)
  }

  function isFileNew(): boolean {
    try {
      return options.configFile.load().text !== appliedText
    } catch {
      // Applying it says what is wrong.
      return true
    }
  }

  async function stop({ drainMs = config.server.drain_timeout } = {}): Promise<void> {
    isReady = false
    const deadline = clock.sleep(drainMs, lifetime.signal).catch(() => {})
    await directory.stop()
    await Promise.race([Promise.all(listeners.map((listener) => listener.drain())), deadline])
    lifetime.abort()
    await Promise.all(listeners.map((listener) => listener.close()))
    await registry.shutdownAll()
    watchdog.stop()
    transport.close()
    stopProcessMetrics()
  }

  function cacheEvent(event: CacheEvent): void {
    view.snapshot.observe("onCacheEvent", () => event)
  }

  /** For `on_error: disable`. */
  function withdraw(instance: PluginInstance, reason: string): void {
    const wasServing = registry.get(instance.name) !== undefined
    try {
      registry.withdraw(instance, reason)
      const isOff = registry.get(instance.name) === undefined
      if (wasServing && isOff) fleet.tell({ op: "disable", name: instance.name, reason, force: true })
    } catch (thrown) {
      const { name: plugin } = instance
      log.warn("a failing plugin could not be switched off", { plugin, reason: messageOf(thrown) })
    }
  }

  /** Serves new requests by this snapshot, and by the configuration and the models of now. */
  function show(snapshot: Snapshot): void {
    view = compileView(snapshot)
    watch.follow(providers.pluginsIn(snapshot))
  }

  function compileView(snapshot: Snapshot): View {
    const catalog = new Catalog({ providers: providers.of(snapshot), aliases: config.models })
    return { snapshot, catalog, settings }
  }

  /** A local Ollama is looked for beside the start, which does not wait for it. */
  async function findOllama(): Promise<void> {
    const found = await providers.findOllama(lifetime.signal, () => config.providers.length === 0)
    if (found === undefined) return
    show(registry.current)
    log.info("found a local Ollama", { models: found.models.length })
  }
}

function sharingOf(membership: Membership | undefined): Sharing {
  if (membership?.peers === undefined) return "none"
  return membership.isFurther ? "further" : "first"
}

/** What tells the series of processes that serve together apart. */
function labelOf(membership: Membership | undefined): string {
  return membership?.peers === undefined ? "" : `process="${membership.number}"`
}
