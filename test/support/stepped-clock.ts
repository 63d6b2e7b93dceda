import type { Clock } from "../../src/clock.ts"

export interface SteppedClock extends Clock {
  /** Moves the time on and runs what is due by then, in its order. */
  advance(ms: number): void
  /** Timers that have not fired yet. */
  readonly pending: number
}

/** A clock that stands still until it is moved, timers and all. */
export function steppedClock(startMs = Date.UTC(2026, 0, 1)): SteppedClock {
  let elapsedMs = 0
  const timers = new Set<{ readonly atMs: number; readonly task: () => void }>()

  return {
    now: () => startMs + elapsedMs,
    monotonic: () => elapsedMs,
    after(ms, task) {
      const timer = { atMs: elapsedMs + ms, task }
      timers.add(timer)
      return () => void timers.delete(timer)
    },
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        const cancel = this.after(ms, resolve)
        signal?.addEventListener("abort", () => {
          cancel()
          reject(signal.reason)
        })
      })
    },
    advance(ms) {
      const untilMs = elapsedMs + ms
      for (;;) {
        const [next] = [...timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)
        if (next === undefined) break
        elapsedMs = Math.max(elapsedMs, next.atMs)
        timers.delete(next)
        next.task()
      }
      elapsedMs = untilMs
    },
    get pending() {
      return timers.size
    },
  }
}
