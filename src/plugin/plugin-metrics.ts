import type { MetricStore } from "../telemetry/store.ts"
import type { PluginState } from "./contract.ts"
import type { PluginInstance, Role } from "./instance.ts"

const STATES: readonly PluginState[] = ["loaded", "active", "inactive", "error", "unloaded"]

/** The versions of a plugin that are alive. */
export interface LiveVersions {
  readonly serving: PluginInstance | undefined
  readonly canary: PluginInstance | undefined
  /** Out of service, and kept to go back to. */
  readonly held: PluginInstance | undefined
}

/** What the metrics say about the plugins themselves. */
export class PluginMetrics {
  readonly #store: MetricStore
  /** By plugin, the versions that have series. */
  readonly #shown = new Map<string, readonly ShownVersion[]>()
  readonly #serving = new Map<string, Pick<PluginInstance, "version" | "type">>()

  constructor(store: MetricStore) {
    this.#store = store
  }

  /** Counts a version's calls under this role from now on. */
  countAs(role: Role, instance: PluginInstance): void {
    const { name: plugin, version, conduct } = instance
    const labels = { plugin, version, role }
    instance.role = role
    conduct.series = {
      calls: this.#store.counter("gateway.plugin.calls", labels),
      errors: this.#store.counter("gateway.plugin.errors", labels),
      timeouts: this.#store.counter("gateway.plugin.timeouts", labels),
    }
  }

  /** Shows which version serves, and takes away what belongs to versions that are gone. */
  versions(plugin: string, { serving, canary, held }: LiveVersions): void {
    const live = [serving, canary, held].filter((instance) => instance !== undefined)
    const shown = live.map(({ version, role }): ShownVersion => ({ version, role }))
    for (const old of this.#shown.get(plugin) ?? []) {
      if (!shown.some((other) => Bun.deepEquals(other, old))) this.#store.remove({ plugin, ...old })
    }
    this.#shown.set(plugin, shown)

    const info = serving === undefined ? undefined : { version: serving.version, type: serving.type }
    const old = this.#serving.get(plugin)
    if (old !== undefined && !Bun.deepEquals(old, info)) this.#store.remove({ plugin, ...old })
    if (info === undefined) this.#serving.delete(plugin)
    else this.#serving.set(plugin, info)
    if (info !== undefined) this.#store.gauge("gateway.plugin.info", { plugin, ...info }).set(1)
  }

  state(plugin: string, current: PluginState): void {
    for (const state of STATES) {
      this.#store.gauge("gateway.plugin.state", { plugin, state }).set(state === current ? 1 : 0)
    }
  }

  reload(plugin: string, outcome: "success" | "failure"): void {
    this.#store.counter("gateway.plugin.reloads", { plugin, outcome }).add()
  }

  tripped(plugin: string): void {
    this.#store.counter("gateway.plugin.trips", { plugin }).add()
  }

  rollback(plugin: string, reason: "automatic" | "requested"): void {
    this.#store.counter("gateway.plugin.rollbacks", { plugin, reason }).add()
  }

  generation(generation: number): void {
    this.#store.gauge("gateway.plugin.generation", {}).set(generation)
  }

  forget(plugin: string): void {
    this.#shown.delete(plugin)
    this.#serving.delete(plugin)
    this.#store.remove({ plugin })
  }
}

interface ShownVersion {
  readonly version: string
  readonly role: Role
}
