/**
 * The set of live instances over time. Every change makes a new snapshot and swaps one reference. An instance
 * that was superseded is disposed when no snapshot with a request in it holds it, or at the drain deadline.
 */
import type { Clock } from "../clock.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { PluginInstance } from "./instance.ts"
import type { ModuleHost } from "./module-host.ts"
import { inOrder } from "./order.ts"
import type { PointBook } from "./point.ts"
import { Snapshot } from "./snapshot.ts"

interface GenerationsOptions {
  readonly points: PointBook
  readonly clock: Clock
  readonly log: Logger
  readonly moduleHost: ModuleHost
  readonly drainTimeoutMs: number
  /** Told of each new snapshot before anything of the old one goes. */
  readonly onSwap: (snapshot: Snapshot) => void
}

export class Generations {
  readonly #options: GenerationsOptions
  #current: Snapshot
  /** Superseded, with requests in them. */
  readonly #busy = new Set<Snapshot>()
  /** Superseded instances, each with what cancels its deadline. */
  readonly #draining = new Map<PluginInstance, () => void>()
  readonly #disposals = new Set<Promise<void>>()

  constructor(options: GenerationsOptions) {
    this.#options = options
    this.#current = this.#compile(0, [])
  }

  get current(): Snapshot {
    return this.#current
  }

  /** The current snapshot, held until the caller releases it. */
  pin(): Snapshot {
    this.#current.retain()
    return this.#current
  }

  /** Puts one instance in the place of others, or takes them out. Returns the new generation. */
  replace(removed: readonly PluginInstance[], added?: PluginInstance): number {
    return this.#options.moduleHost.outside(() => {
      const kept = this.#current.instances.filter((instance) => !removed.includes(instance))
      return this.#swap(added === undefined ? kept : [...kept, added])
    })
  }

  /** Takes every instance out and disposes it now, dependents first. Resolves when all are gone. */
  async close(): Promise<void> {
    this.#options.moduleHost.outside(() => {
      this.#swap([])
      this.#dispose([...this.#draining.keys()])
    })
    await Promise.all(this.#disposals)
  }

  #swap(instances: readonly PluginInstance[]): number {
    const old = this.#current
    const next = this.#compile(old.generation + 1, instances)
    this.#current = next
    this.#busy.add(old)
    for (const instance of old.instances) {
      if (!instances.includes(instance)) this.#drain(instance)
    }
    this.#options.onSwap(next)
    old.retire()
    return next.generation
  }

  #compile(generation: number, instances: readonly PluginInstance[]): Snapshot {
    const { points, moduleHost } = this.#options
    // The last request that leaves may leave from inside a plugin.
    const onIdle = (snapshot: Snapshot) => moduleHost.outside(() => this.#idle(snapshot))
    return new Snapshot({ generation, instances, points, onIdle })
  }

  #drain(instance: PluginInstance): void {
    const { clock, drainTimeoutMs, log } = this.#options
    const cancel = clock.after(drainTimeoutMs, () => {
      const { name: plugin, version } = instance
      log.warn("a superseded plugin was still in use at its drain timeout", {
        plugin,
        version,
        drainTimeoutMs,
      })
      this.#dispose([instance])
    })
    this.#draining.set(instance, cancel)
  }

  #idle(snapshot: Snapshot): void {
    this.#busy.delete(snapshot)
    // While many plugins load, many snapshots go idle, and none of them held what is to be disposed.
    if (this.#draining.size === 0) return
    const held = new Set([this.#current, ...this.#busy].flatMap(({ instances }) => instances))
    this.#dispose([...this.#draining.keys()].filter((instance) => !held.has(instance)))
  }

  #dispose(instances: readonly PluginInstance[]): void {
    for (const instance of instances) {
      this.#draining.get(instance)?.()
      this.#draining.delete(instance)
    }
    const dependents = ({ name }: PluginInstance) => instances.filter(({ needs }) => needs.includes(name))
    const disposal = inOrder(instances, dependents, (instance) => instance.dispose())
    this.#disposals.add(disposal)
    void disposal.finally(() => this.#disposals.delete(disposal))
  }
}
