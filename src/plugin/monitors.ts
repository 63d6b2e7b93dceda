/** The monitoring plugins of one snapshot, as those who have something to tell see them. */
import type { Clock } from "../clock.ts"
import type { Metric, MonitoringEvent, TimedMetric, TraceStart } from "./contract.ts"
import type { HookEvent, ObserveHook } from "./hook-bindings.ts"
import type { PluginInstance } from "./instance.ts"
import { type ExportPoint, type Lane, Monitor } from "./monitor.ts"
import { type MonitoredHook, monitoringEvent } from "./monitoring-events.ts"
import type { PointBook } from "./point.ts"

export class Monitors {
  /** What gives text for `/metrics`, in the order in which names are given away. */
  readonly exporters: readonly ExportPoint[]
  readonly #metrics: readonly Lane<TimedMetric>[]
  readonly #events: readonly Lane<MonitoringEvent>[]
  readonly #traces: readonly Lane<TraceStart>[]
  readonly #clock: Clock

  constructor(monitors: readonly Monitor[], clock: Clock) {
    this.exporters = monitors.flatMap((monitor) => monitor.export ?? [])
    this.#metrics = monitors.flatMap(({ metrics }) => metrics ?? [])
    this.#events = monitors.flatMap(({ events }) => events ?? [])
    this.#traces = monitors.flatMap(({ traces }) => traces ?? [])
    this.#clock = clock
  }

  want(name: ObserveHook): boolean {
    return (name === "onMetric" ? this.#metrics : this.#events).length > 0
  }

  get wantTraces(): boolean {
    return this.#traces.length > 0
  }

  /** Takes what the observers of a hook are told. */
  take<N extends ObserveHook>(name: N, event: HookEvent<N>): void {
    const timestamp = this.#clock.now()
    if (name === "onMetric") this.#takeMetric(event as Metric, timestamp)
    else this.#takeEvent(name, event as HookEvent<MonitoredHook>, timestamp)
  }

  /** @param startMs on the monotonic clock */
  traceStarted({ startMs, ...start }: Omit<TraceStart, "startTime"> & { readonly startMs: number }): void {
    const startTime = this.#clock.now() - (this.#clock.monotonic() - startMs)
    const trace = Object.freeze({ ...start, startTime: Math.round(startTime) })
    for (const lane of this.#traces) lane.push(trace)
  }

  #takeEvent(name: MonitoredHook, event: HookEvent<MonitoredHook>, timestamp: number): void {
    const told = monitoringEvent(name, event, timestamp)
    for (const lane of this.#events) lane.push(told)
  }

  #takeMetric({ name, value, type, unit, tags }: Metric, timestamp: number): void {
    const metric = Object.freeze({
      name,
      value,
      type,
      ...(unit === undefined ? {} : { unit }),
      ...(tags === undefined ? {} : { tags: Object.freeze({ ...tags }) }),
      timestamp,
    })
    for (const lane of this.#metrics) lane.push(metric)
  }
}

export function bindMonitors(instances: readonly PluginInstance<"monitoring">[], book: PointBook): Monitors {
  const monitors = instances.map((instance) => instance.monitor(() => new Monitor(instance, book)))
  return new Monitors(monitors, book.deps.clock)
}
