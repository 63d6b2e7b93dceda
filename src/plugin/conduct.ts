/** Whether a plugin failed in a call of the gateway's, or in a timer or promise of its own. */
export type FailurePlace = "call" | "outside"

/** Told how the calls into one instance of a plugin go. */
export interface Judge {
  /** A call ended, well or not. */
  called?(): void
  /** A call failed or was cut at its deadline, or the plugin threw when nobody called it. */
  failed(reason: string, place: FailurePlace): void
}

/** How one loaded version behaves. It is there from the import on, before the instance is. */
export class Conduct {
  calls = 0
  failures = 0
  #judges: readonly Judge[] = []

  /** @returns what takes the judge away again */
  watch(judge: Judge): () => void {
    this.#judges = [...this.#judges, judge]
    return () => {
      this.#judges = this.#judges.filter((other) => other !== judge)
    }
  }

  called(): void {
    this.calls++
    for (const judge of this.#judges) judge.called?.()
  }

  failed(reason: string, place: FailurePlace = "call"): void {
    this.failures++
    for (const judge of this.#judges) judge.failed(reason, place)
  }
}
