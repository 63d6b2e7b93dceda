import { type FSWatcher, watch } from "chokidar"
import type { Clock } from "../clock.ts"
import type { Logger } from "../telemetry/logger.ts"

interface WatcherOptions {
  readonly directory: string
  readonly clock: Clock
  readonly log: Logger
  /** How often to look at the directory when nothing was heard of it. */
  readonly rescanIntervalMs: number
  /** Brings the plugins in line with the directory. */
  sync(): Promise<void>
}

export interface PluginWatcher {
  /** Resolves when changes are seen. Does nothing where it runs already. */
  start(): Promise<void>
  stop(): Promise<void>
}

/** A save is often several events; they are taken together when nothing happened for this long. */
const QUIET_MS = 50
/** Something that writes to the directory all the time must not keep changes from being seen. */
const LONGEST_WAIT_MS = 500

/**
 * Follows the plugin directory. Events only say that it is time to look: what is different is found by comparing
 * the directory with what is loaded. So an event that is lost, doubled or out of order does no harm, and the
 * regular look finds what cannot be watched.
 */
export function createPluginWatcher({
  directory,
  clock,
  log,
  rescanIntervalMs,
  sync,
}: WatcherOptions): PluginWatcher {
  let watcher: FSWatcher | undefined
  let cancelLook = () => {}
  let cancelRescan = () => {}
  let firstEventMs: number | undefined
  let stopped = Promise.withResolvers<void>()

  return { start, stop }

  async function start(): Promise<void> {
    if (watcher !== undefined) return
    stopped = Promise.withResolvers()
    const started = watch(directory, { ignoreInitial: true, ignored: isIgnored })
    watcher = started
    started.on("all", lookSoon)
    started.on("error", (error) => log.warn("watching the plugin directory failed", { directory, error }))
    rescanLater()
    const ready = new Promise<void>((resolve) => started.once("ready", resolve))
    await Promise.race([ready, stopped.promise])
    // What changed before the watcher was ready made no event.
    if (watcher === started) lookSoon()
  }

  async function stop(): Promise<void> {
    const running = watcher
    watcher = undefined
    firstEventMs = undefined
    cancelLook()
    cancelRescan()
    stopped.resolve()
    await running?.close()
  }

  function lookSoon(): void {
    if (watcher === undefined) return
    const nowMs = clock.monotonic()
    firstEventMs ??= nowMs
    cancelLook()
    cancelLook = clock.after(Math.min(QUIET_MS, firstEventMs + LONGEST_WAIT_MS - nowMs), look)
  }

  function look(): void {
    firstEventMs = undefined
    sync().catch((error) => log.error("looking at the plugin directory failed", { directory, error }))
  }

  function rescanLater(): void {
    cancelRescan = clock.after(rescanIntervalMs, () => {
      rescanLater()
      look()
    })
  }

  function isIgnored(path: string): boolean {
    return /[\\/](?:node_modules|\.[^\\/]*)(?:[\\/]|$)/.test(path.slice(directory.length))
  }
}
