/** One life of a plugin's worker: from its start to its end, whoever brings that about. */
import type { Clock } from "../clock.ts"
import { GatewayError } from "../errors.ts"
import type { FromWorker, Outcome, StartPlan, StateRequest, ToWorker } from "./worker-protocol.ts"
import { applyEffects, packArguments, packError, unpackError, unpackResult } from "./worker-wire.ts"

export type Started = Extract<FromWorker, { kind: "ready" | "refused" }>
/** What a worker says of its own accord. */
export type Remark = Extract<FromWorker, { kind: "log" | "metric" | "cacheEvent" | "late" }>

interface LifeOptions {
  readonly plugin: string
  readonly plan: StartPlan
  readonly clock: Clock
  /** Deadline of each call. */
  readonly timeoutMs: number
  spawn(): Worker
  onState(request: StateRequest): unknown
  onRemark(remark: Remark): void
  /** Told once, when the worker is gone and nobody ended it on purpose. */
  onEnd(reason: string): void
}

interface OpenCall {
  readonly path: string
  readonly args: readonly unknown[]
  readonly result: PromiseWithResolvers<unknown>
  /** Takes away its deadline and its listeners. */
  release: () => void
}

/** A worker whose call is late has this long to show that it is not stuck. */
const GRACE_MS = 500

export class WorkerLife {
  readonly started: Promise<Started>
  readonly #options: LifeOptions
  readonly #worker: Worker
  readonly #starting = Promise.withResolvers<Started>()
  readonly #disposed = Promise.withResolvers<void>()
  readonly #calls = new Map<number, OpenCall>()
  #cancelProbe: (() => void) | undefined
  #lastId = 0
  #isOver = false

  constructor(options: LifeOptions) {
    this.#options = options
    this.started = this.#starting.promise
    // Whoever waits for the start hears of it; nobody has to.
    this.started.catch(() => {})
    const worker = options.spawn()
    this.#worker = worker
    worker.unref()
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#heard(data)
    worker.onerror = (event) => {
      event.preventDefault()
      this.end(`its worker failed: ${gist(event.message)}`)
    }
    worker.addEventListener("close", (event) => {
      this.end(`its worker ended with exit code ${(event as CloseEvent).code}`)
    })
    this.#send({ kind: "start", plan: options.plan })
  }

  /** @throws GatewayError `plugin_timeout`, or what the plugin threw; an Error where its worker ended */
  async call(path: string, args: readonly unknown[]): Promise<unknown> {
    const id = ++this.#lastId
    const result = Promise.withResolvers<unknown>()
    const call: OpenCall = { path, args, result, release: () => {} }
    const { wires, signals } = await packArguments(args)
    if (this.#isOver) throw new Error("its worker has ended")
    try {
      this.#send({ kind: "call", id, path, args: wires })
    } catch (cause) {
      throw new Error(`what ${path} is given cannot be sent to a worker, because it is no plain data`, {
        cause,
      })
    }
    this.#calls.set(id, call)
    this.#watch(id, call, signals)
    try {
      return await result.promise
    } finally {
      this.#calls.delete(id)
      call.release()
    }
  }

  /** Runs the plugin's `shutdown` and clean-ups; resolves when they are done, or the worker is gone. */
  shutDown(): Promise<void> {
    if (this.#isOver) return Promise.resolve()
    this.#send({ kind: "dispose" })
    return this.#disposed.promise
  }

  /** Ends the worker where it is. Calls in flight fail. */
  end(reason: string): void {
    if (!this.#close()) return
    const error = new Error(reason)
    this.#starting.reject(error)
    for (const { result } of this.#calls.values()) result.reject(error)
    this.#options.onEnd(reason)
  }

  /** Ends the worker where it is, on purpose. Like those of a disposed module, calls in flight never settle. */
  dispose(): void {
    if (!this.#close()) return
    for (const { release } of this.#calls.values()) release()
    this.#calls.clear()
    this.#starting.reject(new Error("its worker was ended"))
  }

  #close(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#cancelProbe?.()
    this.#worker.terminate()
    this.#disposed.resolve()
    return true
  }

  #send(message: ToWorker): void {
    if (!this.#isOver) this.#worker.postMessage(message)
  }

  #heard(message: FromWorker): void {
    if (this.#isOver) return
    switch (message.kind) {
      case "ready":
      case "refused":
        this.#starting.resolve(message)
        break
      case "done":
        this.#done(message)
        break
      case "pong":
        this.#cancelProbe?.()
        this.#cancelProbe = undefined
        break
      case "state":
        void this.#answer(message)
        break
      case "memory":
        this.end(`its worker used ${message.bytes} bytes of memory, more than worker_memory`)
        break
      case "disposed":
        this.#disposed.resolve()
        break
      default:
        this.#options.onRemark(message)
    }
  }

  #done({ id, outcome, effects }: Extract<FromWorker, { kind: "done" }>): void {
    const call = this.#calls.get(id)
    if (call === undefined) return
    try {
      applyEffects(effects, call.args)
      if ("error" in outcome) call.result.reject(unpackError(outcome.error))
      else call.result.resolve(unpackResult(outcome.value, call.args))
    } catch (thrown) {
      call.result.reject(thrown)
    }
  }

  async #answer({ id, request }: Extract<FromWorker, { kind: "state" }>): Promise<void> {
    let outcome: Outcome<unknown>
    try {
      outcome = { value: await this.#options.onState(request) }
    } catch (thrown) {
      outcome = { error: packError(thrown) }
    }
    this.#send({ kind: "answer", id, outcome })
  }

  /** Passes on aborts, and holds the call to its deadline. */
  #watch(id: number, call: OpenCall, signals: readonly AbortSignal[]): void {
    const { clock, timeoutMs } = this.#options
    const releases = signals.map((signal) => {
      const abort = () => this.#send({ kind: "abort", id, reason: packError(signal.reason) })
      // It may have come while the arguments were packed.
      if (signal.aborted) abort()
      else signal.addEventListener("abort", abort, { once: true })
      return () => signal.removeEventListener("abort", abort)
    })
    const cancel = clock.after(timeoutMs, () => {
      const error = this.#late(call.path)
      this.#send({ kind: "abort", id, reason: packError(error) })
      call.result.reject(error)
      this.#probe()
    })
    call.release = () => {
      cancel()
      for (const release of releases) release()
    }
  }

  /** A worker that is only slow answers at once; one that is stuck never does. */
  #probe(): void {
    if (this.#isOver || this.#cancelProbe !== undefined) return
    this.#send({ kind: "ping" })
    this.#cancelProbe = this.#options.clock.after(GRACE_MS, () => {
      this.end("its worker was stuck in a call and was ended")
    })
  }

  #late(path: string): GatewayError {
    const { plugin, timeoutMs } = this.#options
    return new GatewayError(
      "plugin_timeout",
      `plugin "${plugin}" did not finish ${path} within ${timeoutMs} ms; look for a loop or a promise that never ends, or raise plugins.configs.${plugin}.timeout`,
    )
  }
}

/** Bun's message has the source around the error; one line of it says what happened. */
function gist(message: string): string {
  const lines = message.split("\n")
  return (lines.find((line) => /^\w*error: /i.test(line)) ?? lines[0] ?? "").trim()
}
