/**
 * Names the plugin that keeps the event loop. A call that blocks and returns is measured where it was made. One that
 * never returns is named by a thread beside this one: it reads in shared memory which plugin is inside, and writes
 * one line to standard error before the supervisor ends the process.
 */
import type { Clock } from "../clock.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { MetricStore } from "../telemetry/store.ts"
import { LogPace } from "./log-pace.ts"
import { BOARD_SLOTS, FIRST_SLOT, HEARTBEAT, type ThreadMessage } from "./watchdog-board.ts"

/** One place where the gateway calls into one plugin, as the watchdog knows it. */
export interface Watched {
  readonly plugin: string
  readonly hook: string
  /** Its place on the board. */
  readonly slot: number
  /** When a call was over last that had gone on after its first promise, on the monotonic clock. */
  leftMs: number
  readonly pace: LogPace
}

interface WatchdogOptions {
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: MetricStore
  /** A plugin may keep the event loop for as long as this; 0: for ever. */
  readonly limitMs: number
  /** Starts the program of `watchdog-thread.ts`. */
  startThread(): Worker
}

const BEAT_MS = 100

export class Watchdog {
  /** Shared with the thread. Who enters a plugin writes its slot at `INSIDE`, and 0 when it leaves. */
  readonly board: Int32Array
  readonly limitMs: number
  readonly #options: WatchdogOptions | undefined
  readonly #watched = new Map<string, Watched>()
  #thread: Worker | undefined
  #beat: ReturnType<typeof setInterval> | undefined
  #beatAtMs = 0
  #cpuMs = 0
  /** Since the last beat, and told already. */
  #blockedMs = 0

  constructor(options?: WatchdogOptions) {
    const isOn = options !== undefined && options.limitMs > 0
    this.#options = isOn ? options : undefined
    this.limitMs = isOn ? options.limitMs : Number.POSITIVE_INFINITY
    this.board = new Int32Array(new SharedArrayBuffer(4 * (isOn ? BOARD_SLOTS : FIRST_SLOT + 1)))
  }

  /** The place on the board of a plugin's hook. The first one starts the thread: without plugins nothing is watched. */
  watch(plugin: string, hook: string): Watched {
    const key = `${plugin}\n${hook}`
    const known = this.#watched.get(key)
    if (known !== undefined) return known
    // Those for which there is no room share the last place.
    const slot = Math.min(FIRST_SLOT + this.#watched.size, this.board.length - 1)
    const watched = { plugin, hook, slot, leftMs: 0, pace: new LogPace() }
    if (this.#options === undefined) return watched
    this.#watched.set(key, watched)
    // At once: what is called next may never return.
    this.#start(this.#options).postMessage({ slot, plugin, hook } satisfies ThreadMessage)
    return watched
  }

  /** A plugin kept the event loop for longer than it may, and has returned. */
  blocked(watched: Watched, blockedMs: number): void {
    this.#blockedMs += blockedMs
    this.#report([watched], blockedMs, "a plugin blocked the event loop")
  }

  stop(): void {
    clearInterval(this.#beat)
    this.#beat = undefined
    this.#thread?.terminate()
    this.#thread = undefined
  }

  #start({ clock, startThread }: WatchdogOptions): Worker {
    if (this.#thread !== undefined) return this.#thread
    const thread = startThread()
    thread.unref()
    thread.postMessage({ board: this.board } satisfies ThreadMessage)
    this.#thread = thread
    this.#beatAtMs = clock.monotonic()
    this.#cpuMs = cpuMs()
    this.#beat = setInterval(() => this.#turned(clock.monotonic()), BEAT_MS)
    this.#beat.unref()
    return thread
  }

  /** The event loop turns. Where it came late, something after a plugin's first promise may have kept it. */
  #turned(nowMs: number): void {
    this.board[HEARTBEAT] = (Number(this.board[HEARTBEAT]) + 1) | 0
    const lastMs = this.#beatAtMs
    const usedMs = cpuMs() - this.#cpuMs
    const lateMs = nowMs - lastMs - BEAT_MS - this.#blockedMs
    this.#beatAtMs = nowMs
    this.#cpuMs += usedMs
    this.#blockedMs = 0
    // A process that did not get the processor blocks nothing.
    if (lateMs <= this.limitMs || usedMs < lateMs / 2) return
    const suspects = [...this.#watched.values()].filter(
      ({ slot, leftMs }) => leftMs >= lastMs || Number(this.board[slot]) > 0,
    )
    this.#report(suspects, lateMs, "a plugin may have blocked the event loop after its first promise")
  }

  #report(suspects: readonly Watched[], blockedMs: number, message: string): void {
    const [first] = suspects
    if (first === undefined || this.#options === undefined) return
    const { log, metrics, clock } = this.#options
    const { plugin, hook } = first
    const isSure = suspects.every((other) => other.plugin === plugin)
    if (isSure) metrics.counter("gateway.plugin.blocked", { plugin }).add(blockedMs / 1000)
    if (first.pace.next(clock.monotonic()) === undefined) return
    const who = isSure ? { plugin, hook } : { oneOf: suspects.map((one) => `${one.plugin} ${one.hook}`) }
    log.warn(message, { ...who, blockedMs: Math.round(blockedMs) })
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
