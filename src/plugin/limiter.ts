/** Runs the task when its turn comes, never before the caller has the promise; gives what the task gives. */
export type Limiter = <T>(task: () => Promise<T>) => Promise<T>

/** Lets at most `max` tasks run at a time, in the order in which they came. With 1, it is a queue. */
export function createLimiter(max: number): Limiter {
  const waiting: (() => void)[] = []
  let running = 0
  return async function limited<T>(task: () => Promise<T>): Promise<T> {
    await turn()
    try {
      return await task()
    } finally {
      // The turn is handed over, so that a newcomer cannot slip in between.
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }

  async function turn(): Promise<void> {
    if (running < max) running++
    else await new Promise<void>((resolve) => waiting.push(resolve))
  }
}
