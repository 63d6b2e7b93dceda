import { onTestFinished } from "bun:test"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { type Clock, systemClock } from "../../src/clock.ts"
import type { BreakerSettings } from "../../src/plugin/breaker.ts"
import type { CacheEvent, Metric, PluginLoadEvent } from "../../src/plugin/contract.ts"
import { registerHostModules } from "../../src/plugin/host-modules.ts"
import type { PluginInstance, PluginSettings } from "../../src/plugin/instance.ts"
import { createModuleHost, type ModuleHost } from "../../src/plugin/module-host.ts"
import { PointBook } from "../../src/plugin/point.ts"
import type { ProbationRule } from "../../src/plugin/probation.ts"
import { PluginRegistry } from "../../src/plugin/registry.ts"
import type { Snapshot } from "../../src/plugin/snapshot.ts"
import type { BundledPlugin } from "../../src/plugin/sources.ts"
import type { Watchdog } from "../../src/plugin/watchdog.ts"
import { createMemoryStore } from "../../src/state/store.ts"
import { createLogger } from "../../src/telemetry/logger.ts"
import { MetricStore } from "../../src/telemetry/store.ts"
import { waitFor } from "../support/wait.ts"

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly [field: string]: unknown
}

interface HarnessOptions {
  readonly clock?: Clock
  readonly bundled?: readonly BundledPlugin[]
  readonly maxPlugins?: number
  readonly maxConcurrent?: number
  readonly setupTimeoutMs?: number
  readonly drainTimeoutMs?: number
  readonly breaker?: BreakerSettings
  readonly watchdog?: Watchdog
  readonly moduleHost?: ModuleHost
  /** None, where it is not given. */
  readonly probation?: ProbationRule
  readonly random?: () => number
  /** The plugin directory, where it is not to be a new one. */
  readonly directory?: string
  readonly isLocked?: boolean
}

/** A registry over a real directory, and everything it told the gateway. */
export class Harness {
  readonly directory: string
  readonly registry: PluginRegistry
  readonly points: PointBook
  readonly entries: Record<string, Partial<PluginSettings>> = {}
  /** `plugins.packages`. */
  readonly packages: string[] = []
  readonly log: LogLine[] = []
  readonly events: PluginLoadEvent[] = []
  /** What plugins said through `emit.metric`, as "name value". */
  readonly said: string[] = []
  readonly cacheEvents: CacheEvent[] = []
  readonly snapshots: Snapshot[] = []
  readonly metrics = new MetricStore()
  constructor(options: HarnessOptions = {}) {
    registerHostModules()
    this.directory = options.directory ?? join(temporaryDirectory(), "plugins")
    mkdirSync(this.directory, { recursive: true })
    const { clock = systemClock } = options
    const log = createLogger({ level: "debug", destination: (line) => this.log.push(JSON.parse(line)) })
    const withdraw = (instance: PluginInstance, reason: string) => this.registry.withdraw(instance, reason)
    this.points = new PointBook({ clock, log, metrics: this.metrics, watchdog: options.watchdog, withdraw })
    this.registry = new PluginRegistry({
      log,
      clock,
      state: createMemoryStore({ clock }),
      metrics: this.metrics,
      points: this.points,
      moduleHost: options.moduleHost ?? createModuleHost(),
      directory: this.directory,
      bundled: options.bundled ?? [],
      packages: () => this.packages,
      isLocked: options.isLocked ?? false,
      maxPlugins: options.maxPlugins ?? 100,
      maxConcurrent: options.maxConcurrent ?? 5,
      setupTimeoutMs: options.setupTimeoutMs ?? 10_000,
      drainTimeoutMs: options.drainTimeoutMs ?? 10_000,
      // Most tests are about one failure after another.
      breaker: options.breaker ?? false,
      spawnWorker: () => new Worker(new URL("../../src/plugin-worker.ts", import.meta.url)),
      entry: (name) => this.#entry(name),
      probation: () => options.probation,
      random: options.random ?? Math.random,
      onSwap: (snapshot) => void this.snapshots.push(snapshot),
      onEvent: (event) => void this.events.push(event),
      emitMetric: (_plugin: string, { name, value }: Metric) => void this.said.push(`${name} ${value}`),
      emitCacheEvent: (event) => void this.cacheEvents.push(event),
    })
  }

  /** Writes a file below the plugin directory; returns its path. */
  write(path: string, text: string): string {
    const file = join(this.directory, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
    return file
  }

  delete(path: string): void {
    rmSync(join(this.directory, path), { recursive: true })
  }

  stateOf(name: string): string {
    return this.registry.getInfo(name).state
  }

  errorOf(name: string): string {
    return this.registry.getInfo(name).error?.message ?? ""
  }

  versionOf(name: string): string | undefined {
    return this.registry.get(name)?.version
  }

  /** Resolves when a plugin has said this. */
  async heard(what: string): Promise<void> {
    await waitFor(`"${what}" in ${this.said}`, () => this.said.includes(what))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.registry.shutdownAll()
  }

  #entry(name: string): PluginSettings | undefined {
    const entry = this.entries[name]
    if (entry === undefined) return undefined
    const plain = { enabled: true, config: {}, dependencies: [], loadAfter: [], timeoutMs: 5000 }
    return { ...plain, isolation: "inline", ...entry }
  }
}

/** A new directory, which goes when the test that asked for it is over. */
export function temporaryDirectory(): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "leapgate-test-")))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

interface PluginText {
  readonly name: string
  readonly version?: string
  readonly type?: string
  /** More properties of the definition, as source. */
  readonly more?: string
  /** Body of `setup`, before it returns. */
  readonly setup?: string
  /** Properties of the abilities, as source. */
  readonly abilities?: string
  /** Source before the definition. */
  readonly top?: string
}

/** The source of a plugin, which says "<name> <version>" when it is set up and "<name> gone" when it is disposed. */
export function pluginText({ name, version = "1.0.0", type = "monitoring", ...text }: PluginText): string {
  return `import { definePlugin, GatewayError, Type } from "leapgate/plugin"
${text.top ?? ""}
export default definePlugin({
  name: "${name}",
  version: "${version}",
  type: "${type}",
  ${text.more ?? ""}
  async setup({ config, log, state, signal, emit, onDispose, directory }) {
    const say = (what: string, value = 0) => emit.metric({ name: what, value, type: "counter" })
    ${text.setup ?? ""}
    onDispose(() => say("${name} gone", ${version.split(".")[0]}))
    say("${name} up", ${version.split(".")[0]})
    return { ${text.abilities ?? ""} }
  },
})
`
}

/** Something that plugins wait for until the test opens it. Plugins see it through the global object they share. */
export class Gate {
  /** What a plugin awaits, as source. */
  readonly wait: string
  readonly #key = `leapgate-gate-${crypto.randomUUID()}`
  readonly #opened = Promise.withResolvers<void>()

  constructor() {
    this.wait = `globalThis["${this.#key}"]`
    Object.defineProperty(globalThis, this.#key, { value: this.#opened.promise, configurable: true })
  }

  open(): void {
    this.#opened.resolve()
  }

  [Symbol.dispose](): void {
    this.open()
    Reflect.deleteProperty(globalThis, this.#key)
  }
}
