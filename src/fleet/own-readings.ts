import type { CacheKeeper } from "../plugin/cache-keeper.ts"
import type { Awaitable } from "../plugin/contract.ts"
import { readHooks } from "../plugin/hook-stats.ts"
import { exportedFamilies } from "../plugin/metric-exports.ts"
import type { PointBook } from "../plugin/point.ts"
import type { PluginRegistry } from "../plugin/registry.ts"
import { type MetricsFormat, renderFamilies } from "../telemetry/exposition.ts"
import type { MetricStore } from "../telemetry/store.ts"
import type { FleetServices } from "./fleet.ts"
import type { Readings, Topic } from "./readings.ts"

interface ReaderOptions {
  readonly registry: PluginRegistry
  readonly caches: CacheKeeper
  readonly points: PointBook
  readonly metrics: MetricStore
  /** Added to every series: `process="2"`. */
  readonly label: string
}

/** Answers for this process what processes ask each other about. */
export function createReader(options: ReaderOptions): FleetServices["read"] {
  const { registry, caches, points, metrics, label } = options
  return read

  function read<T extends Topic>(topic: T): Awaitable<Readings[T["about"]]>
  function read(topic: Topic): Awaitable<Readings[Topic["about"]]> {
    switch (topic.about) {
      case "plugins":
        return registry.list()
      case "hooks":
        return readHooks(points, registry.current)
      case "metrics":
        return readMetrics(topic.format)
      case "cache":
        return caches.read(topic.name).catch(() => null)
    }
  }

  async function readMetrics(format: MetricsFormat): Promise<Readings["metrics"]> {
    const snapshot = registry.pin()
    try {
      const foreign = await exportedFamilies(snapshot.monitors.exporters)
      return renderFamilies(metrics, { format, foreign, label })
    } finally {
      snapshot.release()
    }
  }
}
