/** The serving process: config in, gateway up, signals wired, drained at the end. */
import { constants } from "node:os"
import { resolve } from "node:path"
import packageJson from "../../package.json" with { type: "json" }
import { DEFAULT_FILE, type LoadedConfig, loadConfig } from "../config/load.ts"
import type { Config } from "../config/schema.ts"
import { secretsIn } from "../config/secrets.ts"
import { messageOf } from "../errors.ts"
import { createGateway, type Gateway } from "../gateway.ts"
import type { Overrides } from "../plugin/roster.ts"
import { createLogger, type Logger, type RootLogger } from "../telemetry/logger.ts"
import { createRedactor, type Redactor } from "../telemetry/redact.ts"
import { exit } from "./exit.ts"
import type { Plan } from "./messages.ts"
import type { ConfigOption } from "./program.ts"
import { followStopSignals } from "./stop-signals.ts"
import { linkToSupervisor, type SupervisorLink } from "./supervisor-link.ts"
import type { Terminal } from "./terminal.ts"

interface ServeOptions extends ConfigOption {
  readonly host?: string
  readonly port?: number
}

export async function serve(options: ServeOptions, { env, cwd, out }: Terminal): Promise<number> {
  const supervisor = linkToSupervisor()
  const welcome = await supervisor.welcome
  let loaded = load(options.config)
  const workers = welcome.plan?.workers ?? workersFor(loaded, supervisor)
  const redactor = createRedactor()
  const root = createLogger({ level: loaded.config.telemetry.logs.level, redactor })
  const log = workers > 1 ? { ...root.child({ process: welcome.number }), setLevel: root.setLevel } : root
  announce(loaded, log, redactor)
  if (!env.BUN_CONFIG_MAX_HTTP_REQUESTS) log.warn(LOW_LIMIT)
  if (workers < loaded.config.server.workers && welcome.plan === undefined) log.warn(FEWER_WORKERS)

  const membership = {
    number: welcome.number,
    peers: workers > 1 ? supervisor.peers : undefined,
    isFurther: welcome.plan !== undefined,
    overrides: welcome.overrides,
    keep: (overrides: Overrides) => supervisor.send({ kind: "keep", overrides }),
  }
  const configPath = () => loaded.path ?? resolve(cwd, DEFAULT_FILE)
  const configFile = {
    path: configPath,
    load: (text?: string) => load(loaded.path ?? options.config, text),
  }
  const { version } = packageJson
  const gateway = await createGateway({ loaded, reloadConfig, configFile, env, version, log, membership })
  await gateway.start()
  const stopped = untilStopped()
  process.on("SIGHUP", () => orLog("SIGHUP", gateway.reload))
  supervisor.onLost(() => stopped.resolve("the supervisor is gone"))
  surviveStrayErrors(log)
  const announcement = `LeapGate ${version} is ready on ${gateway.url}`
  supervisor.send({ kind: "plan", plan: planOf(loaded.config, gateway, workers), announcement })
  supervisor.ready()
  // Of several processes the supervisor knows when all are.
  if (workers === 1) out(announcement)
  else log.info("ready", { pid: process.pid })

  // Imported only now: nobody has to wait for it.
  const { watchConfig } = await import("../config/watch.ts")
  const watcher = watchConfig({
    path: configPath(),
    text: loaded.text,
    onChange: () => orLog("the file has changed", gateway.follow),
  })

  log.info("draining", { reason: await stopped.promise })
  watcher.close()
  await gateway.stop()
  return 0

  function load(path: string | undefined, text?: string): LoadedConfig {
    // Where others have served before, their addresses hold.
    const { host, port, adminListen } = { ...options, ...welcome.plan }
    const overrides = {
      ...(host !== undefined && { host }),
      ...(port !== undefined && { port }),
      ...(adminListen !== undefined && { adminListen }),
    }
    return loadConfig({ path, overrides, env, cwd, ...(text !== undefined && { text }) })
  }

  function orLog(reason: string, change: (reason: string) => Promise<void>): void {
    change(reason).catch((thrown: unknown) => {
      log.error("the config was not reloaded; the one before stays in use", {
        reason,
        error: messageOf(thrown),
      })
    })
  }

  function reloadConfig(): LoadedConfig {
    // A file that was in use and is gone is an error, not a wish for the defaults.
    const next = load(loaded.path ?? options.config)
    announce(next, log, redactor)
    loaded = next
    return next
  }
}

const LOW_LIMIT =
  "at most 256 requests to providers run at a time: set BUN_CONFIG_MAX_HTTP_REQUESTS=65535 before the start"

const FEWER_WORKERS =
  "server.workers is ignored: several processes need the supervisor, and Linux to share a port; one process serves"

function workersFor({ config }: LoadedConfig, { isThere }: SupervisorLink): number {
  return isThere && process.platform === "linux" ? config.server.workers : 1
}

function planOf({ server, admin }: Config, { ports }: Gateway, workers: number): Plan {
  const adminListen = admin.listen.replace(/:\d+$/, `:${ports.admin}`)
  return { workers, host: server.host, port: ports.main, adminListen }
}

function announce(loaded: LoadedConfig, log: RootLogger, redactor: Redactor): void {
  for (const secret of secretsIn(loaded.config)) redactor.addSecret(secret)
  log.setLevel(loaded.config.telemetry.logs.level)
  for (const warning of loaded.warnings) log.warn(warning)
  for (const { name, reason } of loaded.skippedProviders) log.warn(reason, { provider: name })
}

function untilStopped(): PromiseWithResolvers<string> {
  const stopped = Promise.withResolvers<string>()
  followStopSignals({
    first: stopped.resolve,
    again: (signal) => exit(128 + constants.signals[signal]),
  })
  return stopped
}

/** Requests know nothing of each other: an error that belongs to none of them must not end them all. */
function surviveStrayErrors(log: Logger): void {
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (thrown: unknown) => {
      log.error("an error reached nobody; please report it", { event, error: thrown })
    })
  }
}
