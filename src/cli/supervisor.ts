/**
 * The parent of the serving process. It sets what Bun reads only when a process starts, and starts another
 * one when the serving process crashes or hangs. It loads before anything is served, so it imports next to nothing.
 */
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

/** @returns the exit code, once the serving process was told to end or could not start. */
export async function supervise({ command, env, timings = TIMINGS }: SupervisorOptions): Promise<number> {
  const orders = followSignals()
  let delayMs = timings.restartMinMs
  let hasServed = false
  for (;;) {
    const life = await serveOnce({ command, env, timings, orders })
    hasServed ||= life.wasReady
    if (orders.isStopping() || life.code === 0 || !hasServed) return life.code
    if (life.durationMs >= timings.healthyAfterMs) delayMs = timings.restartMinMs
    log("error", "the serving process ended; another one is started", { exitCode: life.code, delayMs })
    await orders.stoppedWithin(delayMs)
    if (orders.isStopping()) return 0
    delayMs = Math.min(delayMs * 2, timings.restartMaxMs)
  }
}

interface Life {
  readonly code: number
  readonly wasReady: boolean
  readonly durationMs: number
}

interface LifeOptions extends Required<SupervisorOptions> {
  readonly orders: Orders
}

async function serveOnce({ command, env, timings, orders }: LifeOptions): Promise<Life> {
  const startedAt = performance.now()
  let heardAt = startedAt
  let wasReady = false
  let isReloadDue = false
  const child = spawn(command, env, (message) => {
    heardAt = performance.now()
    if (message !== READY) return
    wasReady = true
    if (isReloadDue) child?.kill("SIGHUP")
  })
  if (child === undefined) return { code: 1, wasReady, durationMs: 0 }

  let checkedAt = startedAt
  const check = setInterval(() => {
    const now = performance.now()
    // This process did not run either: the machine slept, or somebody stopped both.
    if (now - checkedAt > timings.heartbeatTimeoutMs / 2) heardAt = now
    checkedAt = now
    if (now - heardAt <= timings.heartbeatTimeoutMs) return
    log("error", "the serving process hangs and is killed", { silentMs: Math.round(now - heardAt) })
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
  return { code, wasReady, durationMs: performance.now() - startedAt }
}

function spawn(
  command: readonly string[],
  env: SupervisorOptions["env"],
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
    log("error", "the serving process cannot be started", { command: command[0], reason: String(thrown) })
    return undefined
  }
}

type Order = "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGKILL"

interface Orders {
  isStopping(): boolean
  /** Resolves after `ms`, or as soon as this process is told to stop. */
  stoppedWithin(ms: number): Promise<void>
  /** Where signals go from now on, until the returned function is called. */
  passTo(receiver: (signal: Order) => void): () => void
}

/** The first SIGTERM or SIGINT lets open requests finish, the second one does not. */
function followSignals(): Orders {
  const stopped = Promise.withResolvers<void>()
  let isStopping = false
  let receiver: (signal: Order) => void = () => {}

  followStopSignals({
    first(signal) {
      isStopping = true
      stopped.resolve()
      receiver(signal)
    },
    again: () => receiver("SIGKILL"),
  })
  process.on("SIGHUP", () => receiver("SIGHUP"))

  return {
    isStopping: () => isStopping,
    async stoppedWithin(ms) {
      await Promise.race([stopped.promise, Bun.sleep(ms)])
    },
    passTo(next) {
      receiver = next
      return () => {
        receiver = () => {}
      }
    },
  }
}

/** One line in the log's own format; the logger itself would cost start-up time. */
function log(level: "error", message: string, fields: Readonly<Record<string, unknown>>): void {
  console.error(JSON.stringify({ level, time: new Date().toISOString(), message, ...fields }))
}
