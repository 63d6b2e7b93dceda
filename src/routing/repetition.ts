import type { Clock } from "../clock.ts"

interface RepetitionOptions {
  readonly clock: Clock
  /** Between the end of one run and the start of the next. */
  readonly pauseMs: number
  /** Must not reject. Its signal aborts when nobody wants its outcome any more. */
  readonly task: (signal: AbortSignal) => Promise<void>
}

/** Runs a task soon, and again after every pause, until the returned function is called. */
export function repeatedly({ clock, pauseMs, task }: RepetitionOptions): () => void {
  const controller = new AbortController()
  let cancel = clock.after(0, () => void run())
  return function stop() {
    cancel()
    controller.abort()
  }

  async function run(): Promise<void> {
    await task(controller.signal)
    if (!controller.signal.aborted) cancel = clock.after(pauseMs, () => void run())
  }
}
