import type { Counter } from "../telemetry/store.ts"

/** Whether a plugin failed in a call of the gateway's, or in a timer or promise of its own. */
export type FailurePlace = "call" | "outside"

interface Failure {
  readonly kind?: "error" | "timeout"
  readonly place?: FailurePlace
}

/** Told how the calls into one instance of a plugin go. */
export interface Judge {
  /** A call ended, well or not. */
  called?(): void
  /** A call failed or was cut at its deadline, or the plugin threw when nobody called it. */
  failed(reason: string, place: FailurePlace): void
}

/** The series of one version in the metrics. */
export interface ConductSeries {
  readonly calls: Counter
  readonly errors: Counter
  readonly timeouts: Counter
}

/** How one loaded version behaves. It is there from the import on, before the instance is. */
export class Conduct {
  calls = 0
  failures = 0
  lastFailure = ""
  /** Bound when it is known in which role the version serves. */
  series: ConductSeries | undefined
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
    this.series?.calls.add()
    for (const judge of this.#judges) judge.called?.()
  }

  failed(reason: string, { kind = "error", place = "call" }: Failure = {}): void {
    this.failures++
    this.lastFailure = reason
    this.series?.errors.add()
    if (kind === "timeout") this.series?.timeouts.add()
    for (const judge of this.#judges) judge.failed(reason, place)
  }
}
