import type { MetricStore } from "../telemetry/store.ts"
import type { PluginState } from "./contract.ts"
import type { PluginInstance } from "./instance.ts"
import type { PluginStats } from "./stats.ts"

const STATES: readonly PluginState[] = ["loaded", "active", "inactive", "error", "unloaded"]

/** What the metrics say about the plugins themselves. */
export class PluginMetrics {
  readonly #store: MetricStore

  constructor(store: MetricStore) {
    this.#store = store
  }

  /** Shows a plugin's counts for as long as it is known. */
  track(plugin: string, stats: PluginStats): void {
    this.#store.observe("gateway.plugin.calls", { plugin }, () => stats.calls)
    this.#store.observe("gateway.plugin.errors", { plugin }, () => stats.errors)
    this.#store.observe("gateway.plugin.timeouts", { plugin }, () => stats.timeouts)
  }

  state(plugin: string, current: PluginState): void {
    for (const state of STATES) {
      this.#store.gauge("gateway.plugin.state", { plugin, state }).set(state === current ? 1 : 0)
    }
  }

  serves({ name: plugin, version, type }: PluginInstance): void {
    this.#store.gauge("gateway.plugin.info", { plugin, version, type }).set(1)
  }

  stops({ name: plugin, version }: PluginInstance): void {
    this.#store.remove({ plugin, version })
  }

  reload(plugin: string, outcome: "success" | "failure"): void {
    this.#store.counter("gateway.plugin.reloads", { plugin, outcome }).add()
  }

  tripped(plugin: string): void {
    this.#store.counter("gateway.plugin.trips", { plugin }).add()
  }

  generation(generation: number): void {
    this.#store.gauge("gateway.plugin.generation", {}).set(generation)
  }

  forget(plugin: string): void {
    this.#store.remove({ plugin })
  }
}
