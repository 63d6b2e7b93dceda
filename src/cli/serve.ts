/** The serving process: config in, gateway up, signals wired, drained at the end. */
import { constants } from "node:os"
import { resolve } from "node:path"
import packageJson from "../../package.json" with { type: "json" }
import { DEFAULT_FILE, type LoadedConfig, loadConfig } from "../config/load.ts"
import { secretsIn } from "../config/secrets.ts"
import { messageOf } from "../errors.ts"
import { createGateway, type Gateway } from "../gateway.ts"
import { createLogger, type Logger, type RootLogger } from "../telemetry/logger.ts"
import { createRedactor, type Redactor } from "../telemetry/redact.ts"
import type { ConfigOption } from "./program.ts"
import { followStopSignals } from "./stop-signals.ts"
import { linkToSupervisor } from "./supervisor-link.ts"
import type { Terminal } from "./terminal.ts"

interface ServeOptions extends ConfigOption {
  readonly host?: string
  readonly port?: number
}

export async function serve(options: ServeOptions, { env, cwd, out }: Terminal): Promise<number> {
  const supervisor = linkToSupervisor()
  let loaded = load(options.config)
  const redactor = createRedactor()
  const log = createLogger({ level: loaded.config.telemetry.logs.level, redactor })
  announce(loaded, log, redactor)
  if (!env.BUN_CONFIG_MAX_HTTP_REQUESTS) log.warn(LOW_LIMIT)

  const configPath = () => loaded.path ?? resolve(cwd, DEFAULT_FILE)
  const configFile = {
    path: configPath,
    load: (text?: string) => load(loaded.path ?? options.config, text),
  }
  const { version } = packageJson
  const gateway = await createGateway({ loaded, reloadConfig, configFile, env, version, log })
  await gateway.start()
  const stopped = untilStopped()
  const reload = reloader(gateway, log)
  process.on("SIGHUP", () => reload("SIGHUP"))
  supervisor.onLost(() => stopped.resolve("the supervisor is gone"))
  surviveStrayErrors(log)
  supervisor.ready()
  out(`LeapGate ${version} is ready on ${gateway.url}`)

  // Imported only now: nobody has to wait for it.
  const { watchConfig } = await import("../config/watch.ts")
  const watcher = watchConfig({
    path: configPath(),
    text: loaded.text,
    onChange: () => reload("the file has changed"),
  })

  log.info("draining", { reason: await stopped.promise })
  watcher.close()
  await gateway.stop()
  return 0

  function load(path: string | undefined, text?: string): LoadedConfig {
    const { host, port } = options
    const overrides = { ...(host !== undefined && { host }), ...(port !== undefined && { port }) }
    return loadConfig({ path, overrides, env, cwd, ...(text !== undefined && { text }) })
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
    again: (signal) => process.exit(128 + constants.signals[signal]),
  })
  return stopped
}

/** One reload at a time: a SIGHUP may come while a changed file is still being applied. */
function reloader(gateway: Gateway, log: Logger): (reason: string) => void {
  let last: Promise<void> = Promise.resolve()
  return function reload(reason) {
    last = last
      .then(() => gateway.reload(reason))
      .catch((thrown: unknown) => {
        log.error("the config was not reloaded; the one before stays in use", {
          reason,
          error: messageOf(thrown),
        })
      })
  }
}

/** Requests know nothing of each other: an error that belongs to none of them must not end them all. */
function surviveStrayErrors(log: Logger): void {
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (thrown: unknown) => {
      log.error("an error reached nobody; please report it", { event, error: thrown })
    })
  }
}
