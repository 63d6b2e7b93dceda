/**
 * The parent of the serving processes. It sets what Bun reads only when a process starts, starts another one when a
 * serving process crashes or hangs, and passes on what they tell each other. It loads before anything is served, so it
 * imports next to nothing; how many processes are to serve, the first one tells it.
 */
import type { Plan, ToSupervisor } from "./messages.ts"
import { createRelay, type Relay } from "./relay.ts"
import { followStopSignals } from "./stop-signals.ts"

/** In the environment of a serving process that has a supervisor. */
export const SUPERVISED = "LEAPGATE_SUPERVISED"
/** What the serving process sends: a sign of life every second, and once that it is ready. */
export const HEARTBEAT = "alive"
export const READY = "ready"

/** How many requests to providers may be open at a time; Bun takes 256 otherwise, and no more than this. */
const UPSTREAM_LIMIT_VARIABLE = "BUN_CONFIG_MAX_HTTP_REQUESTS"
const UPSTREAM_LIMIT = "65535"

export interface Timings {
  readonly restartMinMs: number
  readonly restartMaxMs: number
  /** A process that lived this long is not part of a series of crashes. */
  readonly healthyAfterMs: number
  /** Silence after which a process hangs. */
  readonly heartbeatTimeoutMs: number
  readonly checkEveryMs: number
}

const TIMINGS: Timings = {
  restartMinMs: 1000,
  restartMaxMs: 30_000,
  healthyAfterMs: 60_000,
  heartbeatTimeoutMs: 20_000,
  checkEveryMs: 1000,
}

interface SupervisorOptions {
  /** The serving process. */
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly timings?: Timings
}

/** `leapgate serve`, unless this is the serving process already or it is to serve alone. */
export function needsSupervisor(args: readonly string[], env: SupervisorOptions["env"]): boolean {
  return args[0] === "serve" && !args.includes("--no-supervisor") && env[SUPERVISED] === undefined
}

/** The command that started this process, from source or compiled. */
export function ownCommand(): readonly string[] {
  const args = process.argv.slice(2)
  return Bun.isStandaloneExecutable
    ? [process.execPath, ...args]
    : [process.execPath, ...process.execArgv, Bun.main, ...args]
}

/** @returns the exit code, once the serving processes were told to end or the first one could not start. */
export async function supervise({ command, env, timings = TIMINGS }: SupervisorOptions): Promise<number> {
  const orders = followSignals()
  const announcer = createAnnouncer()
  const others: Promise<number>[] = []
  const relay = createRelay({
    onPlan(plan, announcement) {
      announcer.expect(plan, announcement)
      for (let number = 2; number <= plan.workers; number++) others.push(keepServing(number))
    },
  })
  const code = await keepServing(1)
  const codes = [code, ...(await Promise.all(others))]
  return codes.find((code) => code !== 0) ?? 0

  /** The first process shows that a start can succeed; without that there is nothing to start again. */
  async function keepServing(number: number): Promise<number> {
    let delayMs = timings.restartMinMs
    let hasServed = number > 1
    while (!orders.isStopping()) {
      const life = await serveOnce({ number, command, env, timings, orders, relay, announcer })
      hasServed ||= life.wasReady
      const wasToldToEnd = life.code === 0 && others.length === 0
      if (orders.isStopping() || wasToldToEnd || !hasServed) return life.code
      if (life.durationMs >= timings.healthyAfterMs) delayMs = timings.restartMinMs
      const fields = { process: number, exitCode: life.code, delayMs }
      log("error", "a serving process ended; another one is started", fields)
      await orders.stoppedWithin(delayMs)
      delayMs = Math.min(delayMs * 2, timings.restartMaxMs)
    }
    return 0
  }
}

interface Life {
  readonly code: number
  readonly wasReady: boolean
  readonly durationMs: number
}

interface LifeOptions extends Required<SupervisorOptions> {
  readonly number: number
  readonly orders: Orders
  readonly relay: Relay
  readonly announcer: Announcer
}

async function serveOnce(options: LifeOptions): Promise<Life> {
  const { number, timings, orders, relay, announcer } = options
  const startedAt = performance.now()
  let heardAt = startedAt
  let wasReady = false
  let isReloadDue = false
  const child = spawn(options, (message) => {
    heardAt = performance.now()
    if (message === READY) {
      wasReady = true
      announcer.ready(number)
      if (isReloadDue) child?.kill("SIGHUP")
    } else if (typeof message === "object") relay.receive(member, message as ToSupervisor)
  })
  if (child === undefined) return { code: 1, wasReady, durationMs: 0 }
  const member = { number, pid: child.pid, send: (message: unknown) => tell(child, message) }

  let checkedAt = startedAt
  const check = setInterval(() => {
    const now = performance.now()
    // This process did not run either: the machine slept, or somebody stopped both.
    if (now - checkedAt > timings.heartbeatTimeoutMs / 2) heardAt = now
    checkedAt = now
    if (now - heardAt <= timings.heartbeatTimeoutMs) return
    const fields = { process: number, silentMs: Math.round(now - heardAt) }
    log("error", "a serving process hangs and is killed", fields)
    child.kill("SIGKILL")
  }, timings.checkEveryMs)

  const release = orders.passTo((signal) => {
    // Before it is ready a SIGHUP would end it.
    if (signal === "SIGHUP" && !wasReady) isReloadDue = true
    else child.kill(signal)
  })
  const code = await child.exited
  release()
  clearInterval(check)
  relay.leave(member)
  return { code, wasReady, durationMs: performance.now() - startedAt }
}

function tell(child: Bun.Subprocess, message: unknown): void {
  try {
    child.send(message)
  } catch {
    // It has ended, which is seen elsewhere.
  }
}

interface Announcer {
  expect(plan: Plan, announcement: string): void
  ready(number: number): void
}

/** Says once that all serve; where there is one process, it says so itself. */
function createAnnouncer(): Announcer {
  const ready = new Set<number>()
  let due: { readonly workers: number; readonly text: string } | undefined
  return {
    expect({ workers }, text) {
      if (workers > 1) due = { workers, text }
    },
    ready(number) {
      ready.add(number)
      if (due === undefined || ready.size < due.workers) return
      console.log(due.text)
      due = undefined
    },
  }
}

function spawn(
  { command, env }: SupervisorOptions,
  onMessage: (message: unknown) => void,
): Bun.Subprocess | undefined {
  try {
    return Bun.spawn([...command], {
      env: {
        ...env,
        [SUPERVISED]: "1",
        [UPSTREAM_LIMIT_VARIABLE]: env[UPSTREAM_LIMIT_VARIABLE] || UPSTREAM_LIMIT,
      },
      stdio: ["inherit", "inherit", "inherit"],
      // A process group of its own: Ctrl-C reaches it once, through here.
      detached: true,
      ipc: onMessage,
    })
  } catch (thrown) {
    log("error", "a serving process cannot be started", { command: command[0], reason: String(thrown) })
    return undefined
  }
}

type Order = "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGKILL"

interface Orders {
  isStopping(): boolean
  /** Resolves after `ms`, or as soon as this process is told to stop. */
  stoppedWithin(ms: number): Promise<void>
  /** Passes signals on to this receiver too, until the returned function is called. */
  passTo(receiver: (signal: Order) => void): () => void
}

/** The first SIGTERM or SIGINT lets open requests finish, the second one does not. */
function followSignals(): Orders {
  const stopped = Promise.withResolvers<void>()
  let isStopping = false
  const receivers = new Set<(signal: Order) => void>()
  const pass = (signal: Order) => {
    for (const receive of receivers) receive(signal)
  }

  followStopSignals({
    first(signal) {
      isStopping = true
      stopped.resolve()
      pass(signal)
    },
    again: () => pass("SIGKILL"),
  })
  process.on("SIGHUP", () => pass("SIGHUP"))

  return {
    isStopping: () => isStopping,
    async stoppedWithin(ms) {
      await Promise.race([stopped.promise, Bun.sleep(ms)])
    },
    passTo(receiver) {
      receivers.add(receiver)
      return () => void receivers.delete(receiver)
    },
  }
}

/** One line in the log's own format; the logger itself would cost start-up time. */
function log(level: "error", message: string, fields: Readonly<Record<string, unknown>>): void {
  console.error(JSON.stringify({ level, time: new Date().toISOString(), message, ...fields }))
}
