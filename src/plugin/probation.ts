import type { Conduct } from "./conduct.ts"

/** How long the version before is kept, and what takes a new one back. */
export interface ProbationRule {
  /** Calls into the new version, counted from its import. */
  readonly calls: number
  /** More failures than this among them are too many. */
  readonly maxErrors: number
}

export type Verdict = "passed" | "failed"

interface ProbationOptions {
  readonly rule: ProbationRule
  readonly conduct: Conduct
  /** Called once, unless the probation is ended before. */
  onVerdict(verdict: Verdict): void
}

/**
 * Judges the first calls of a new version. The verdict comes in a microtask: it is due in the middle of a call, which
 * has counted, logged and applied its own `on_error` by then, and no later request meets a version that failed.
 */
export class Probation {
  readonly #options: ProbationOptions
  readonly #unwatch: () => void
  #isDue = false
  #isOver = false

  constructor(options: ProbationOptions) {
    this.#options = options
    const look = () => this.#look()
    this.#unwatch = options.conduct.watch({ called: look, failed: look })
    // Its import and its setup may have failed often enough.
    this.#look()
  }

  /** Nobody wants the verdict any more. */
  end(): void {
    this.#isOver = true
    this.#unwatch()
  }

  get #hasFailed(): boolean {
    const { conduct, rule } = this.#options
    return conduct.failures > rule.maxErrors
  }

  #look(): void {
    const { conduct, rule } = this.#options
    if (this.#isDue || !(this.#hasFailed || conduct.calls >= rule.calls)) return
    this.#isDue = true
    queueMicrotask(() => this.#tell())
  }

  #tell(): void {
    if (this.#isOver) return
    this.end()
    this.#options.onVerdict(this.#hasFailed ? "failed" : "passed")
  }
}
