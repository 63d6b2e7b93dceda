/** The lock of a plugin directory as it is on disk now, and what it allows to load. */
import { readFile } from "node:fs/promises"
import { join, relative, sep } from "node:path"
import { GatewayError, messageOf } from "../errors.ts"
import { describeDifference, differences, entryOf, LOCK_FILE, type Lock, parseLock } from "../source/lock.ts"
import type { SourcePrint } from "../source/source-print.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { PluginRecord } from "./record.ts"

interface PluginLockOptions {
  /** The plugin directory, absolute. */
  readonly directory: string
  /** `plugins.locked`: what is not as the lock says does not load. */
  readonly isLocked: boolean
  readonly log: Logger
}

type Reading =
  | { readonly text: string; readonly lock: Lock }
  | { readonly text: string | undefined; readonly lock: undefined; readonly fault: string }

export class PluginLock {
  readonly #options: PluginLockOptions
  readonly #file: string
  #last: Reading | undefined

  constructor(options: PluginLockOptions) {
    this.#options = options
    this.#file = join(options.directory, LOCK_FILE)
  }

  /** Whether the file says something else than at the last look. One that nothing can load with is told, once. */
  async look(): Promise<boolean> {
    const before = this.#last
    const now = await this.#read()
    this.#last = now
    if (before !== undefined && now.text === before.text) return false
    if (this.#options.isLocked && now.lock === undefined) {
      this.#options.log.error("no plugin of the directory loads", { reason: now.fault })
    }
    return true
  }

  /** @throws GatewayError `plugin_integrity` where plugins are locked and this one is not what the lock says */
  async assertListed(record: PluginRecord, print: SourcePrint): Promise<void> {
    if (!this.#options.isLocked || record.isBundled) return
    const reading = await this.#read()
    if (reading.lock === undefined) {
      throw new GatewayError("plugin_integrity", reading.fault, { details: { lock: this.#file } })
    }
    const { source } = record
    const entry = entryOf(reading.lock, this.sourceOf(record))
    if (entry === undefined) {
      const message = `${source} is not listed in ${this.#file}; if it is meant to load, run \`leapgate plugin lock\``
      throw new GatewayError("plugin_integrity", message)
    }
    const [first, ...more] = differences(entry, print)
    if (first === undefined) return
    const others = more.length === 0 ? "" : ` and ${more.length} more`
    throw new GatewayError(
      "plugin_integrity",
      `${source} is not what ${this.#file} says: ${describeDifference(first)}${others}; restore it, or accept it with \`leapgate plugin lock\``,
      { details: { differences: [first, ...more] } },
    )
  }

  /** Whether these files are as the lock said at the last look; null where there is no lock. */
  isAsListed(record: PluginRecord, print: SourcePrint): boolean | null {
    if (this.#last?.lock === undefined || record.isBundled) return null
    const entry = entryOf(this.#last.lock, this.sourceOf(record))
    return entry !== undefined && differences(entry, print).length === 0
  }

  /** What the lock calls the source of a plugin. */
  sourceOf(record: Pick<PluginRecord, "source" | "package">): string {
    if (record.package !== undefined) return `package:${record.package.name}`
    return relative(this.#options.directory, record.source).replaceAll(sep, "/")
  }

  async #read(): Promise<Reading> {
    let text: string
    try {
      text = await readFile(this.#file, "utf8")
    } catch (thrown) {
      const isMissing = (thrown as NodeJS.ErrnoException).code === "ENOENT"
      const why = isMissing ? "is missing" : `cannot be read: ${messageOf(thrown)}`
      return { text: undefined, lock: undefined, fault: this.#fault(why) }
    }
    if (text === this.#last?.text) return this.#last
    try {
      return { text, lock: parseLock(text) }
    } catch (thrown) {
      return { text, lock: undefined, fault: this.#fault(`is malformed: ${messageOf(thrown)}`) }
    }
  }

  #fault(why: string): string {
    return `plugins.locked is true, and ${this.#file} ${why}; write it with \`leapgate plugin lock\``
  }
}

/** Whether an error is about the lock as a whole: that is told once, and not for each plugin. */
export function isOfLock({ code, details }: GatewayError): boolean {
  return code === "plugin_integrity" && typeof details === "object" && details !== null && "lock" in details
}
