/**
 * The set of live instances over time. Every change that requests can see makes a new snapshot and swaps one
 * reference. An instance that left the line-up is disposed when no snapshot with a request in it holds it, or at the
 * drain deadline; one that is in it never is.
 */
import type { Clock } from "../clock.ts"
import type { Logger } from "../telemetry/logger.ts"
import { CanaryDraw, type CanaryShare } from "./canary-draw.ts"
import type { PluginInstance } from "./instance.ts"
import type { ModuleHost } from "./module-host.ts"
import { inOrder } from "./order.ts"
import type { PointBook } from "./point.ts"
import { Snapshot } from "./snapshot.ts"

/** All instances that are to live. */
export interface Lineup {
  readonly serving: readonly PluginInstance[]
  readonly canaries: readonly CanaryShare[]
  /** Kept to go back to; no new request sees them. */
  readonly held: readonly PluginInstance[]
}

interface GenerationsOptions {
  readonly points: PointBook
  readonly clock: Clock
  readonly log: Logger
  readonly moduleHost: ModuleHost
  readonly drainTimeoutMs: number
  /** Told of each new snapshot before anything of the old one goes. */
  readonly onSwap: (snapshot: Snapshot) => void
  /** 0 to 1, evenly: what draws the requests of canaries. */
  readonly random: () => number
}

const EMPTY: Lineup = { serving: [], canaries: [], held: [] }

export class Generations {
  readonly #options: GenerationsOptions
  #lineup = EMPTY
  #current: Snapshot
  /** Superseded, with requests in them. */
  readonly #busy = new Set<Snapshot>()
  /** Instances that left the line-up, each with what cancels its deadline. */
  readonly #draining = new Map<PluginInstance, () => void>()
  readonly #disposals = new Set<Promise<void>>()

  constructor(options: GenerationsOptions) {
    this.#options = options
    this.#current = this.#compile(0, EMPTY)
  }

  get current(): Snapshot {
    return this.#current
  }

  /** The current snapshot, held until the caller releases it. */
  pin(): Snapshot {
    this.#current.retain()
    return this.#current
  }

  /** Lets these live, and no others. Returns the generation, which grew if requests can see a difference. */
  show(lineup: Lineup): number {
    return this.#options.moduleHost.outside(() => {
      const old = this.#lineup
      this.#lineup = lineup
      const alive = new Set(membersOf(lineup))
      for (const instance of membersOf(old)) if (!alive.has(instance)) this.#drain(instance)
      if (!isSameToRequests(old, lineup)) this.#swap(lineup)
      this.#collect()
      return this.#current.generation
    })
  }

  /** Takes every instance out and disposes it now, dependents first. Resolves when all are gone. */
  async close(): Promise<void> {
    this.#options.moduleHost.outside(() => {
      this.show(EMPTY)
      this.#dispose([...this.#draining.keys()])
    })
    await Promise.all(this.#disposals)
  }

  #swap(lineup: Lineup): void {
    const old = this.#current
    this.#current = this.#compile(old.generation + 1, lineup)
    const superseded = [old, ...(old.canaries?.close() ?? [])]
    for (const snapshot of superseded) this.#busy.add(snapshot)
    this.#options.onSwap(this.#current)
    for (const snapshot of superseded) snapshot.retire()
  }

  #compile(generation: number, { serving, canaries }: Lineup): Snapshot {
    const { points, moduleHost, random } = this.#options
    // The last request that leaves may leave from inside a plugin.
    const onIdle = (snapshot: Snapshot) => moduleHost.outside(() => this.#idle(snapshot))
    const shared = { generation, points, onIdle }
    if (canaries.length === 0) return new Snapshot({ ...shared, instances: serving })
    const compile = (drawn: readonly PluginInstance[]) =>
      new Snapshot({
        ...shared,
        instances: serving.map((instance) => drawn.find(({ name }) => name === instance.name) ?? instance),
      })
    const draw = new CanaryDraw({ canaries, random, compile })
    return new Snapshot({ ...shared, instances: serving, canaries: draw })
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
    this.#collect()
  }

  /** Disposes what left the line-up and is in no request. */
  #collect(): void {
    // While many plugins load, many snapshots go idle, and none of them held what is to be disposed.
    if (this.#draining.size === 0) return
    const used = new Set([...this.#busy].flatMap(({ instances }) => instances))
    const unused = [...this.#draining.keys()].filter((instance) => !used.has(instance))
    if (unused.length > 0) this.#dispose(unused)
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

function membersOf({ serving, canaries, held }: Lineup): readonly PluginInstance[] {
  return [...serving, ...canaries.map(({ instance }) => instance), ...held]
}

function isSameToRequests(one: Lineup, other: Lineup): boolean {
  return (
    isSameList(one.serving, other.serving) &&
    isSameList(
      one.canaries.flatMap(({ instance, share }) => [instance, share]),
      other.canaries.flatMap(({ instance, share }) => [instance, share]),
    )
  )
}

function isSameList(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((item, index) => item === other[index])
}
