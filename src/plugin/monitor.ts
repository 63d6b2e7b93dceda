/**
 * What waits to be told to one version of a monitoring plugin. It belongs to the version and not to a snapshot, so
 * that nothing is lost when the set of plugins changes; it is emptied before the version is disposed.
 */
import type { Clock } from "../clock.ts"
import { GatewayError } from "../errors.ts"
import type { Counter } from "../telemetry/store.ts"
import { binderOf } from "./binder.ts"
import { BoundedQueue } from "./bounded-queue.ts"
import type { Awaitable, MonitoringEvent, TimedMetric, TraceStart } from "./contract.ts"
import type { PluginInstance } from "./instance.ts"
import type { PluginPoint, PointBook } from "./point.ts"
import { A_TEXT, ANYTHING } from "./results.ts"
import { withinLimit } from "./time-limit.ts"

/** Items of one kind that may wait. */
const QUEUE_LIMIT = 10_000
const BATCH_SIZE = 500
const BATCH_WAIT_MS = 100

export type ExportPoint = PluginPoint<[], string>

export class Monitor {
  readonly metrics: Lane<TimedMetric> | undefined
  readonly events: Lane<MonitoringEvent> | undefined
  readonly traces: Lane<TraceStart> | undefined
  readonly export: ExportPoint | undefined
  readonly #instance: PluginInstance<"monitoring">
  readonly #clock: Clock
  readonly #lanes: readonly Omit<Lane<unknown>, "push">[]
  /** Cancels the next flush; undefined where none is planned. */
  #cancel: (() => void) | undefined
  #isClosing = false

  constructor(instance: PluginInstance<"monitoring">, book: PointBook) {
    const { abilities } = instance
    const { clock, metrics } = book.deps
    const dropped = metrics.counter("gateway.monitoring.dropped", { plugin: instance.name })
    const wake = () => this.#plan()
    // Nobody waits for a monitor, so there is no request that its failure could fail.
    const bind = binderOf(instance, book, "observer")
    function lane<T>(name: string, fn: Receiver<T> | undefined): Lane<T> | undefined {
      const point = bind(name, ANYTHING, fn)
      return point && new Lane((batch) => point.call(batch), wake, dropped)
    }
    this.metrics = lane("monitoring.recordMetric", abilities.recordMetric)
    this.events = lane("monitoring.recordEvent", abilities.recordEvent)
    this.traces = lane("monitoring.startTrace", abilities.startTrace)
    this.export = bind("monitoring.export", A_TEXT, abilities.export)
    this.#lanes = [this.metrics, this.events, this.traces].filter((one) => one !== undefined)
    this.#instance = instance
    this.#clock = clock
  }

  /** Tells the plugin all that waits, within its deadline. What comes later, or is left then, is dropped. */
  async close(): Promise<void> {
    this.#cancel?.()
    this.#isClosing = true
    const { name, timeoutMs: ms } = this.#instance
    const makeError = () => new GatewayError("plugin_timeout", `"${name}" did not take its last batches`)
    const drained = Promise.all(this.#lanes.map((lane) => lane.drain()))
    // The batch that took too long is counted and logged where it was sent.
    await withinLimit(drained, { clock: this.#clock, ms, makeError }).catch(() => {})
    for (const lane of this.#lanes) lane.close()
  }

  /** One timer for all kinds. It belongs to the host: the request or plugin in hand may end before it fires. */
  #plan(): void {
    if (this.#isClosing) return
    if (this.#lanes.some((lane) => lane.isFull)) {
      this.#cancel?.()
      this.#cancel = this.#instance.outside(() => {
        const immediate = setImmediate(() => this.#flush())
        return () => clearImmediate(immediate)
      })
      return
    }
    this.#cancel ??= this.#instance.outside(() => this.#clock.after(BATCH_WAIT_MS, () => this.#flush()))
  }

  #flush(): void {
    this.#cancel = undefined
    for (const lane of this.#lanes) lane.flush()
  }
}

type Receiver<T> = (batch: readonly T[]) => Awaitable<void>

/** The items of one kind. One batch is with the plugin at a time, so that they arrive in their order. */
export class Lane<T> {
  readonly #queue = new BoundedQueue<T>(QUEUE_LIMIT)
  readonly #send: (batch: readonly T[]) => Awaitable<unknown>
  readonly #wake: () => void
  readonly #dropped: Counter
  #inFlight: Promise<void> | undefined
  #isClosed = false

  constructor(send: (batch: readonly T[]) => Awaitable<unknown>, wake: () => void, dropped: Counter) {
    this.#send = send
    this.#wake = wake
    this.#dropped = dropped
  }

  /** Whether a whole batch waits and can be sent. */
  get isFull(): boolean {
    return this.#queue.size >= BATCH_SIZE && this.#inFlight === undefined
  }

  push(item: T): void {
    if (this.#isClosed) {
      this.#dropped.add()
      return
    }
    this.#dropped.add(this.#queue.push(item))
    const { size } = this.#queue
    if (this.#inFlight === undefined && (size === 1 || size === BATCH_SIZE)) this.#wake()
  }

  flush(): void {
    if (this.#inFlight !== undefined || this.#queue.size === 0) return
    const pending = this.#send(Object.freeze(this.#queue.take(BATCH_SIZE)))
    if (pending instanceof Promise) this.#inFlight = pending.then(() => this.#sent())
    else this.#sent()
  }

  async drain(): Promise<void> {
    for (;;) {
      await this.#inFlight
      if (this.#queue.size === 0 || this.#isClosed) return
      this.flush()
    }
  }

  close(): void {
    this.#isClosed = true
    this.#dropped.add(this.#queue.take(QUEUE_LIMIT).length)
  }

  #sent(): void {
    this.#inFlight = undefined
    if (this.#queue.size > 0) this.#wake()
  }
}
