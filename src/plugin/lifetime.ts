import type { Clock } from "../clock.ts"
import { GatewayError } from "../errors.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { Awaitable } from "./contract.ts"
import type { PluginModule } from "./module-host.ts"
import { withinLimit } from "./time-limit.ts"

interface LifetimeOptions {
  readonly log: Logger
  readonly clock: Clock
  /** Whose context the clean-ups belong to. */
  readonly module: PluginModule
  /** Deadline of each clean-up. */
  readonly timeoutMs: number
}

/** The signal and the clean-ups of one instance of a plugin. */
export class Lifetime {
  readonly #options: LifetimeOptions
  readonly #controller = new AbortController()
  readonly #cleanups: (() => Awaitable<void>)[] = []
  #isOver = false

  constructor(options: LifetimeOptions) {
    this.#options = options
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Registers a clean-up. One that comes too late, from a `setup` that was cut, runs where it is registered. */
  onEnd(cleanup: () => Awaitable<void>): void {
    if (this.#isOver) void this.#run("clean-up", cleanup)
    else this.#cleanups.push(() => this.#options.module.run(cleanup))
  }

  /** Aborts the signal, then runs `shutdown` and the clean-ups, the newest first. Never rejects. */
  async end(reason: GatewayError, shutdown?: () => Awaitable<void>): Promise<void> {
    this.#controller.abort(reason)
    if (shutdown !== undefined) await this.#run("shutdown", () => this.#options.module.run(shutdown))
    for (let next = this.#cleanups.pop(); next !== undefined; next = this.#cleanups.pop()) {
      await this.#run("clean-up", next)
    }
    this.#isOver = true
  }

  async #run(what: string, task: () => Awaitable<void>): Promise<void> {
    const { clock, log, timeoutMs: ms } = this.#options
    const makeError = () => new GatewayError("plugin_timeout", `it did not finish within ${ms} ms`)
    try {
      await withinLimit(task(), { clock, ms, makeError })
    } catch (thrown) {
      log.warn(`the ${what} of a plugin failed`, { error: thrown })
    }
  }
}
