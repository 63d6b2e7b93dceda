type StopSignal = "SIGTERM" | "SIGINT"

interface StopHandlers {
  /** Finish what is open, then end. */
  first(signal: StopSignal): void
  /** Do not wait any longer. */
  again(signal: StopSignal): void
}

/** A script runner passes on the Ctrl-C that the terminal has sent here too: one press, two signals. */
const SAME_PRESS_MS = 500

export function followStopSignals({ first, again }: StopHandlers): void {
  let firstAt: number | undefined
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (firstAt === undefined) {
        firstAt = performance.now()
        first(signal)
      } else if (performance.now() - firstAt > SAME_PRESS_MS) {
        again(signal)
      }
    })
  }
}
