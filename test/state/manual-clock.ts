import { type Clock, systemClock } from "../../src/clock.ts"

export interface ManualClock extends Clock {
  advance(ms: number): void
}

/** A clock whose time of day stands still until it is moved; timers run on real time. */
export function manualClock(startMs = Date.UTC(2026, 0, 1)): ManualClock {
  let nowMs = startMs
  return {
    ...systemClock,
    now: () => nowMs,
    advance(ms) {
      nowMs += ms
    },
  }
}
