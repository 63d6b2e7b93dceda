/**
 * A point is one place where the gateway calls into one plugin: a hook or an ability. It is bound when a
 * snapshot is made, so that a call costs no look-up: it runs synchronously until the plugin returns a
 * promise; only then do the deadline timer and the race against disposal exist.
 */
import type { Clock } from "../clock.ts"
import { GatewayError, messageOf } from "../errors.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { Histogram, MetricStore } from "../telemetry/store.ts"
import { callTimeout, isCallTimeout } from "./call-timeout.ts"
import type { Awaitable, HookContext } from "./contract.ts"
import type { PluginInstance } from "./instance.ts"
import { LogPace } from "./log-pace.ts"
import { Watchdog, type Watched } from "./watchdog.ts"
import { INSIDE } from "./watchdog-board.ts"

/** Counts of one plugin at one point. They belong to the plugin's name, so they survive reloads. */
export interface PointStats {
  calls: number
  errors: number
  timeouts: number
  totalTimeMs: number
}

export interface PointDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: MetricStore
  readonly watchdog?: Watchdog | undefined
  /** Takes a version of a plugin out of service, for `on_error: disable`. */
  withdraw(instance: PluginInstance, reason: string): void
}

interface PointRecord {
  readonly plugin: string
  readonly point: string
  readonly stats: PointStats
  readonly watched: Watched
  readonly failureLog: LogPace
}

/** Keeps the counts of every plugin × point and binds new points to them. */
export class PointBook {
  readonly #records = new Map<string, PointRecord>()
  readonly #bound = new WeakMap<PluginInstance, Map<string, unknown>>()

  readonly watchdog: Watchdog

  constructor(readonly deps: PointDeps) {
    this.watchdog = deps.watchdog ?? new Watchdog()
  }

  record(plugin: string, point: string): PointRecord {
    const key = `${plugin}\n${point}`
    let record = this.#records.get(key)
    if (record === undefined) {
      record = {
        plugin,
        point,
        stats: { calls: 0, errors: 0, timeouts: 0, totalTimeMs: 0 },
        watched: this.watchdog.watch(plugin, point),
        failureLog: new LogPace(),
      }
      this.#records.set(key, record)
    }
    return record
  }

  /** A point of an instance: made for the first snapshot that has it, and used by those that follow. */
  bound<P>(instance: PluginInstance, point: string, make: () => P): P {
    let points = this.#bound.get(instance)
    if (points === undefined) {
      points = new Map()
      this.#bound.set(instance, points)
    }
    // A canary that is promoted is counted elsewhere from then on.
    const key = `${instance.role} ${point}`
    const known = points.get(key)
    if (known !== undefined) return known as P
    const made = make()
    points.set(key, made)
    return made
  }

  /** Where one version's runs of a point are measured. */
  duration({ name: plugin, version, role }: PluginInstance, hook: string): Histogram {
    return this.deps.metrics.histogram("gateway.hook.duration", { plugin, hook, version, role })
  }

  records(): Iterable<PointRecord> {
    return this.#records.values()
  }

  /** Forgets a plugin that is gone. */
  forget(plugin: string): void {
    for (const [key, record] of this.#records) if (record.plugin === plugin) this.#records.delete(key)
  }
}

/** What a failure means for the request in hand; of an observer there is none. */
export type OnFailure = "open" | "closed" | "observer"

/** What a point may return. */
export interface ResultCheck {
  /** For the error: `a boolean`. */
  readonly expected: string
  accepts(result: unknown): boolean
}

interface PointOptions<A extends unknown[], R> {
  readonly instance: PluginInstance
  readonly name: string
  readonly fn: (...args: A) => Awaitable<R>
  readonly onFailure: OnFailure
  readonly result: ResultCheck
  readonly book: PointBook
}

export class PluginPoint<A extends unknown[], R> {
  readonly instance: PluginInstance
  readonly name: string
  readonly #fn: (...args: A) => Awaitable<R>
  readonly #onFailure: OnFailure
  readonly #result: ResultCheck
  readonly #record: PointRecord
  readonly #duration: Histogram
  readonly #deps: PointDeps
  readonly #watchdog: Watchdog

  constructor({ instance, name, fn, onFailure, result, book }: PointOptions<A, R>) {
    this.instance = instance
    this.name = name
    this.#fn = fn
    this.#onFailure = onFailure
    this.#result = result
    this.#record = book.record(instance.name, name)
    this.#duration = book.duration(instance, name)
    this.#deps = book.deps
    this.#watchdog = book.watchdog
  }

  /**
   * Calls the plugin. A failure of an open point counts, is logged and gives undefined.
   * @throws GatewayError the plugin's own, which rejects the request on purpose, or `plugin_failed` /
   * `plugin_timeout` where the plugin fails closed.
   */
  call(...args: A): Awaitable<R | undefined> {
    const { clock } = this.#deps
    if (this.instance.isOff && this.instance.breaker?.admits() === false) return this.#turnAway()
    const startMs = clock.monotonic()
    let result: Awaitable<R>
    this.#watchdog.board[INSIDE] = this.#record.watched.slot
    try {
      result = this.instance.run(this.#fn, ...args)
    } catch (thrown) {
      return this.#failed(thrown, this.#left(startMs))
    }
    const elapsedMs = this.#left(startMs)
    if (!isPromise(result)) return this.#returned(result, elapsedMs)
    return this.#finish(result, startMs, abortOf(args))
  }

  /** The event loop is the gateway's again. @returns how long the plugin had it */
  #left(startMs: number): number {
    const { board, limitMs } = this.#watchdog
    board[INSIDE] = 0
    const elapsedMs = this.#deps.clock.monotonic() - startMs
    if (elapsedMs > limitMs) this.#watchdog.blocked(this.#record.watched, elapsedMs)
    return elapsedMs
  }

  /** The plugin is switched off: the request goes on without it, or is refused. */
  #turnAway(): undefined {
    const { name, breaker } = this.instance
    this.#deps.metrics.counter("gateway.plugin.skipped", { plugin: name }).add()
    if (this.#onFailure !== "closed") return undefined
    throw new GatewayError(
      "plugin_failed",
      `plugin "${name}" kept failing and is switched off for a while, and it is set to fail closed; its last error is at /admin/plugins/${name}`,
      { retryAfterMs: breaker?.restMs() ?? 0 },
    )
  }

  async #finish(
    pending: Promise<R>,
    startMs: number,
    abort: DeadlineAbort | undefined,
  ): Promise<R | undefined> {
    const cut = Promise.withResolvers<never>()
    const { timeoutMs } = this.instance
    const { watched } = this.#record
    const { board } = this.#watchdog
    board[watched.slot] = Number(board[watched.slot]) + 1
    const elapsed = () => {
      watched.leftMs = this.#deps.clock.monotonic()
      return watched.leftMs - startMs
    }
    const cancel = this.#deps.clock.after(timeoutMs, () => {
      const error = callTimeout({ plugin: this.instance.name, what: this.name, limitMs: timeoutMs })
      abort?.abortAtDeadline(error)
      cut.reject(error)
    })
    const forget = this.instance.onGone(cut.reject)
    try {
      return this.#returned(await Promise.race([pending, cut.promise]), elapsed())
    } catch (thrown) {
      return this.#failed(thrown, elapsed())
    } finally {
      board[watched.slot] = Number(board[watched.slot]) - 1
      cancel()
      forget()
    }
  }

  #returned(result: R, elapsedMs: number): R | undefined {
    if (!this.#result.accepts(result)) {
      const error = new Error(`returned ${typeof result}, expected ${this.#result.expected}`)
      return this.#failed(error, elapsedMs)
    }
    this.#done(elapsedMs)
    return result
  }

  #done(elapsedMs: number, thrown?: unknown): void {
    const { stats } = this.#record
    stats.calls++
    stats.totalTimeMs += elapsedMs
    this.#duration.record(elapsedMs / 1000)
    this.instance.called(this.name, elapsedMs, thrown)
  }

  #failed(thrown: unknown, elapsedMs: number): undefined {
    this.#done(elapsedMs, thrown)
    const isTimeout = isCallTimeout(thrown)
    const isRejection = thrown instanceof GatewayError && !isTimeout && this.#onFailure !== "observer"
    if (isRejection) throw thrown

    this.#count(thrown, isTimeout ? "timeout" : "error")
    if (this.#onFailure !== "closed") return undefined
    if (isTimeout) throw thrown
    throw new GatewayError(
      "plugin_failed",
      `plugin "${this.instance.name}" failed in ${this.name}, and the request cannot go on without it; its last error is at /admin/plugins/${this.instance.name}`,
      { cause: thrown },
    )
  }

  /** Counts a call as failed after all: what it returned proved to be wrong when it was used. */
  disown(fault: unknown): void {
    this.#count(fault, "error")
  }

  #count(thrown: unknown, kind: "error" | "timeout"): void {
    const { stats } = this.#record
    stats.errors++
    if (kind === "timeout") stats.timeouts++
    const message = messageOf(thrown)
    this.instance.failed(`${this.name}: ${message}`, kind)
    this.#report(thrown)
    if (this.instance.failurePolicy === "disable") {
      this.#deps.withdraw(this.instance, `${this.name} failed: ${message}`)
    }
  }

  #report(thrown: unknown): void {
    const line = this.#record.failureLog.next(this.#deps.clock.monotonic())
    if (line === undefined) return
    this.#deps.log.warn("a plugin failed", {
      plugin: this.instance.name,
      version: this.instance.version,
      hook: this.name,
      error: thrown,
      ...line,
    })
  }
}

/** The second argument of every hook. Its controller is made when the hook asks for the signal. */
export class CallContext implements HookContext {
  #controller: AbortController | undefined
  readonly #parent: AbortSignal | undefined

  constructor(parent?: AbortSignal) {
    this.#parent = parent
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController()
      const parent = this.#parent
      if (parent?.aborted) controller.abort(parent.reason)
      else parent?.addEventListener("abort", () => controller.abort(parent.reason), { once: true })
      this.#controller = controller
    }
    return this.#controller.signal
  }

  abortAtDeadline(reason: unknown): void {
    this.#controller?.abort(reason)
  }
}

type DeadlineAbort = Pick<CallContext, "abortAtDeadline">

function abortOf(args: readonly unknown[]): DeadlineAbort | undefined {
  const last = args.at(-1)
  return last instanceof CallContext ? last : undefined
}

export function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return (
    value !== null && typeof value === "object" && typeof (value as { then?: unknown }).then === "function"
  )
}
