/** Loads many plugins at once, in the order of what they need. */
import type { Clock } from "../clock.ts"
import type { Launcher, ReadWhen } from "./launcher.ts"
import { inOrder, loadOrder, type Ordered } from "./order.ts"
import type { PluginRecord } from "./record.ts"
import type { Roster } from "./roster.ts"
import type { Stage } from "./stage.ts"

interface RolloutOptions {
  readonly roster: Roster
  readonly launcher: Launcher
  readonly stage: Stage
  readonly clock: Clock
}

/**
 * Plugins wait for each other's code to be read, because only then it is known who needs whom. One whose import
 * hangs may not hold up the others for longer than this.
 */
const PATIENCE_MS = 1000

export class Rollout {
  readonly #options: RolloutOptions

  constructor(options: RolloutOptions) {
    this.#options = options
  }

  /**
   * Reads these plugins and puts them into service. `gone` are those whose files are no longer there: they go,
   * unless one of the others takes their name over. Never rejects: every record keeps its own error.
   */
  async roll(
    records: readonly PluginRecord[],
    when: ReadWhen,
    gone: readonly PluginRecord[] = [],
  ): Promise<void> {
    const prompt: PluginRecord[] = []
    const reads = records.map(async (record) => {
      await quietly(record.work((signal) => this.#options.launcher.read(record, when, signal)))
      prompt.push(record)
    })
    await this.#patiently(Promise.all(reads))
    const ready = records.filter((record) => prompt.includes(record))
    const late = records.filter((record) => !ready.includes(record))
    await Promise.all([
      this.#launch(ready, gone),
      ...late.map(async (record) => {
        await reads[records.indexOf(record)]
        await this.#launch([record], [])
      }),
    ])
    await this.wake()
  }

  /** Tries plugins again that lacked something which is there now. */
  async wake(): Promise<void> {
    const records = this.#options.roster.wakeable()
    if (records.length > 0) await this.roll(records, "if-down")
  }

  async #launch(records: readonly PluginRecord[], gone: readonly PluginRecord[]): Promise<void> {
    const { launcher } = this.#options
    // Before anything is set up and in the order of their paths: of two plugins with one name, always the same one wins.
    for (const record of records) launcher.claim(record)
    this.#remove(gone)
    const waitsFor = this.#order(records)
    await inOrder(records, waitsFor, async (record) => {
      await quietly(record.work((signal) => launcher.launch(record, signal)))
      // Requests come between two plugins, however many there are.
      await this.#options.clock.sleep(0)
    })
    this.#remove(gone)
  }

  #remove(gone: readonly PluginRecord[]): void {
    const { roster, stage } = this.#options
    const left = gone.filter(
      (record) => record.isFileGone && roster.has(record) && !roster.isReserved(record.name),
    )
    if (left.length > 0) stage.stop(left, "unloaded")
  }

  /** Fails the plugins that need each other in a circle. Returns who waits for whom. */
  #order(records: readonly PluginRecord[]): (record: PluginRecord) => readonly PluginRecord[] {
    const { roster, stage } = this.#options
    const planned = new Map<string, Ordered>()
    const byName = new Map<string, PluginRecord>()
    for (const record of [...roster.records(), ...records]) {
      const manifest = record.plannedManifest
      if (manifest === undefined || (!record.hasCandidate && roster.owner(manifest.name) !== record)) continue
      planned.set(manifest.name, roster.needsOf(manifest))
      byName.set(manifest.name, record)
    }
    const { waitsFor, cycles } = loadOrder([...planned.values()])
    for (const record of records) {
      const cycle = record.hasCandidate ? cycles.get(record.plannedManifest?.name ?? "") : undefined
      if (cycle !== undefined) stage.fail(record, cycle)
    }
    return ({ plannedManifest, name }) =>
      (waitsFor.get(plannedManifest?.name ?? name) ?? []).flatMap((other) => byName.get(other) ?? [])
  }

  async #patiently(work: Promise<unknown>): Promise<void> {
    const enough = Promise.withResolvers<void>()
    const cancel = this.#options.clock.after(PATIENCE_MS, enough.resolve)
    await Promise.race([work, enough.promise])
    cancel()
  }
}

/** The record keeps its error, and whoever cuts work knows of it: nobody has to hear of it here. */
async function quietly(work: Promise<void>): Promise<void> {
  await work.catch(() => {})
}
