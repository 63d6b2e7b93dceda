/**
 * A plugin in a thread of its own, as the gateway sees it: abilities whose functions send a message and wait. A worker
 * that ends, is stuck or grows too large is replaced; until the new one is ready, calls fail.
 */
import { copyFile, mkdtemp, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { GatewayError, messageOf } from "../errors.ts"
import type { Conduct } from "./conduct.ts"
import type { PluginDefinition } from "./contract.ts"
import type { PluginModule } from "./module-host.ts"
import type { PluginServices } from "./setup-context.ts"
import type { PluginStats } from "./stats.ts"
import { type Remark, type Started, WorkerLife } from "./worker-life.ts"
import { type AbilityShape, hookPath, type StartPlan, type StateRequest } from "./worker-protocol.ts"
import { unpackError } from "./worker-wire.ts"

interface WorkerOptions {
  readonly definition: PluginDefinition
  readonly artefact: string | undefined
  readonly config: Readonly<Record<string, unknown>>
  readonly timeoutMs: number
  readonly memoryBytes: number | undefined
  readonly services: PluginServices
  readonly stats: PluginStats
  readonly conduct: Conduct
  /** Told what the plugin's code throws when nobody waits for it. */
  readonly onLateError: (thrown: unknown) => void
}

const RESTART_MIN_MS = 100
const RESTART_MAX_MS = 30_000
/** A worker that lived this long is not part of a series of crashes. */
const HEALTHY_AFTER_MS = 60_000

export class PluginWorker implements PluginModule {
  readonly exports = undefined
  readonly #options: WorkerOptions
  #artefact: string | undefined
  #life: WorkerLife | undefined
  #readyAtMs: number | undefined
  #delayMs = RESTART_MIN_MS
  #cancelRestart: (() => void) | undefined
  #isDisposed = false

  constructor(options: WorkerOptions) {
    this.#options = options
  }

  /**
   * Sets the plugin up in its worker.
   * @returns its abilities, as functions that ask the worker
   * @throws what `setup` threw; a RefusedStart where the plugin did not get as far, or returned what it may not
   */
  async start(): Promise<unknown> {
    this.#artefact = await ownCopy(this.#options.artefact)
    return this.#abilities(shapeIn(await this.#begin()))
  }

  /** What belongs to the plugin runs in its worker; the rest of a call is the gateway's own. */
  run<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R {
    return fn(...args)
  }

  dispose(): void {
    this.#isDisposed = true
    this.#cancelRestart?.()
    this.#life?.dispose()
    const artefact = this.#artefact
    this.#artefact = undefined
    // The directory above it goes with the process; one that cannot be removed now is no loss.
    if (artefact !== undefined) void rm(dirname(artefact), { recursive: true, force: true }).catch(() => {})
  }

  async #begin(): Promise<Started> {
    const { definition, services, timeoutMs } = this.#options
    const { clock, moduleHost, spawnWorker } = services
    if (spawnWorker === undefined) throw new RefusedStart(unsupported("plugins cannot run in workers here"))
    const store = services.state.namespace(definition.name)
    const life = moduleHost.outside(
      () =>
        new WorkerLife({
          plugin: definition.name,
          plan: this.#plan(),
          clock,
          timeoutMs,
          spawn: spawnWorker,
          onState: (request) => answer(store, request),
          onRemark: (remark) => this.#heard(remark),
          onEnd: (reason) => this.#ended(reason),
        }),
    )
    this.#life = life
    const started = await life.started
    this.#readyAtMs = clock.monotonic()
    return started
  }

  #plan(): StartPlan {
    const { definition, config, services, memoryBytes } = this.#options
    const { directory, setupTimeoutMs: cleanUpTimeoutMs } = services
    return {
      name: definition.name,
      artefact: this.#artefact,
      config,
      directory,
      cleanUpTimeoutMs,
      memoryBytes,
    }
  }

  #abilities({ functions, hooks, values, formats }: AbilityShape): Readonly<Record<string, unknown>> {
    const { name: plugin } = this.#options.definition
    if (functions.includes("fetch")) {
      const message = `plugin "${plugin}" answers requests of its own with fetch, which it cannot do in a worker; its hooks and its other abilities could. Set plugins.configs.${plugin}.isolation to "inline"`
      throw new RefusedStart(unsupported(message))
    }
    const ask = (path: string) => {
      return (...args: unknown[]) => this.#call(path, args)
    }
    const askAll = (names: readonly string[], path: (name: string) => string) =>
      Object.fromEntries(names.map((name) => [name, ask(path(name))]))
    return {
      ...values,
      ...askAll(functions, (name) => name),
      ...(functions.includes("supportsFormat") && { supportsFormat: supports }),
      ...(hooks.length > 0 && { hooks: askAll(hooks, hookPath) }),
      shutdown: () => this.#life?.shutDown(),
    }

    function supports(format: string): boolean {
      return formats.includes(format)
    }
  }

  #call(path: string, args: readonly unknown[]): Promise<unknown> {
    if (this.#life === undefined || this.#readyAtMs === undefined) {
      return Promise.reject(new Error("its worker has ended, and the next one is not ready yet"))
    }
    return this.#life.call(path, args)
  }

  #heard(remark: Remark): void {
    const { definition, services, onLateError } = this.#options
    const { name: plugin } = definition
    if (remark.kind === "late") onLateError(unpackError(remark.error))
    else if (remark.kind === "metric") services.emitMetric(plugin, remark.metric)
    else if (remark.kind === "cacheEvent") services.emitCacheEvent({ ...remark.event, plugin })
    else services.log[remark.level](remark.message, { plugin, ...remark.fields })
  }

  /** One that ends before it was ever ready is told by `start`. */
  #ended(reason: string): void {
    const wasReady = this.#readyAtMs
    this.#readyAtMs = undefined
    this.#life = undefined
    if (wasReady === undefined || this.#isDisposed) return
    const { clock } = this.#options.services
    if (clock.monotonic() - wasReady >= HEALTHY_AFTER_MS) this.#delayMs = RESTART_MIN_MS
    this.#options.stats.recordError(reason, "error")
    this.#options.conduct.failed(reason, { place: "outside" })
    this.#restartLater(reason)
  }

  #restartLater(reason: string): void {
    const { definition, services } = this.#options
    const delayMs = this.#delayMs
    this.#delayMs = Math.min(delayMs * 2, RESTART_MAX_MS)
    services.log.error("a plugin's worker ended; another one is started", {
      plugin: definition.name,
      reason,
      delayMs,
    })
    this.#cancelRestart = services.clock.after(delayMs, () => void this.#restart())
  }

  async #restart(): Promise<void> {
    if (this.#isDisposed) return
    const { definition, services } = this.#options
    const { setupTimeoutMs: ms, clock, log } = services
    const cancel = clock.after(ms, () => this.#life?.end(`its setup did not finish within ${ms} ms`))
    try {
      shapeIn(await this.#begin())
      services.metrics?.counter("gateway.plugin.restarts", { plugin: definition.name }).add()
      log.info("a plugin's worker is back", { plugin: definition.name })
    } catch (thrown) {
      this.#readyAtMs = undefined
      this.#life?.dispose()
      this.#life = undefined
      if (!this.#isDisposed) this.#restartLater(messageOf(thrown))
    } finally {
      cancel()
    }
  }
}

/** A start that failed, and is told as it is: it is not the plugin's `setup` that threw. */
export class RefusedStart extends Error {
  constructor(readonly fault: unknown) {
    super(messageOf(fault))
  }
}

function shapeIn(started: Started): AbilityShape {
  if (started.kind === "ready") return started.shape
  const fault = unpackError(started.error)
  if (started.stage === "setup") throw fault
  if (fault instanceof GatewayError) throw new RefusedStart(fault)
  const message = `importing it in a worker failed: ${messageOf(fault)}`
  throw new RefusedStart(new GatewayError("plugin_load_failed", message, { cause: fault }))
}

function answer(store: ReturnType<PluginServices["state"]["namespace"]>, request: StateRequest): unknown {
  const { operation, key } = request
  if (operation === "set") return store.set(key, request.value, request.options)
  if (operation === "increment") return store.increment(key, request.options)
  return store[operation](key)
}

/**
 * The builder writes the next version over an old one; a worker that is started again must find its own. The copy
 * lies as deep as the original, so that its source map still leads to the sources.
 */
async function ownCopy(artefact: string | undefined): Promise<string | undefined> {
  if (artefact === undefined) return undefined
  const copy = join(await mkdtemp(`${dirname(artefact)}-worker-`), basename(artefact))
  await Promise.all([
    copyFile(artefact, copy),
    // Without a map, errors name lines of the built file.
    copyFile(`${artefact}.map`, `${copy}.map`).catch(() => {}),
  ])
  return copy
}

function unsupported(message: string): GatewayError {
  return new GatewayError("plugin_unsupported", message)
}
