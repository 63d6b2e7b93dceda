import { loadConfig } from "../config/load.ts"
import { GatewayError } from "../errors.ts"
import type { LockablePlugin } from "../plugin/catalogue.ts"
import { readLockable } from "../plugin-reader.ts"
import { describeDifference, diffEntries, type LockEntry } from "../source/lock.ts"
import { lockPath, readLock, writeLock } from "./lock-file.ts"
import type { ConfigOption } from "./program.ts"
import type { Terminal } from "./terminal.ts"

interface PluginLockOptions extends ConfigOption {
  readonly check?: true
}

type Entries = Readonly<Record<string, LockEntry>>

/** Writes what the plugins are made of to plugins.lock, or tells where they are not what it says. */
export async function lockPlugins(
  names: readonly string[],
  { config: path, check: isCheck }: PluginLockOptions,
  { out, err, env, cwd }: Terminal,
): Promise<number> {
  const loaded = loadConfig({ path, env, cwd })
  const file = lockPath(loaded)
  const before: Entries = readLock(loaded)?.plugins ?? {}
  const plugins = await readLockable(loaded)
  assertKnown(names, plugins)
  const chosen = plugins.filter(({ name }) => names.length === 0 || names.includes(name))
  const broken = chosen.filter(({ entry }) => entry === undefined)
  for (const { name, error } of broken) err(`error: plugin "${name}" cannot be read: ${error}`)

  const after = names.length === 0 ? entriesOf(chosen, before) : { ...before, ...entriesOf(chosen, {}) }
  const changes = changesBetween(before, after, isCheck ? FOUND : WRITTEN)
  for (const change of changes) out(change)
  if (isCheck) {
    if (changes.length === 0 && broken.length === 0) out(`the plugins are what ${file} says`)
    return changes.length + broken.length > 0 ? 1 : 0
  }
  if (changes.length > 0 || readLock(loaded) === undefined) writeLock(loaded, after)
  out(changes.length === 0 ? `${file} is up to date` : `wrote ${file}`)
  return broken.length > 0 ? 1 : 0
}

function assertKnown(names: readonly string[], plugins: readonly LockablePlugin[]): void {
  const unknown = names.find((name) => !plugins.some((plugin) => plugin.name === name))
  if (unknown === undefined) return
  throw new GatewayError(
    "plugin_not_found",
    `no plugin of the directory is called "${unknown}"; \`leapgate plugin list\` has their names, and bundled ones need no lock`,
  )
}

/** Those that cannot be read keep what the lock said of them. */
function entriesOf(plugins: readonly LockablePlugin[], before: Entries): Entries {
  return Object.fromEntries(
    plugins.flatMap(({ name, source, entry }): readonly (readonly [string, LockEntry])[] => {
      if (entry !== undefined) return [[name, entry]]
      return Object.entries(before).filter(([, old]) => old.source === source)
    }),
  )
}

interface Words {
  readonly fresh: string
  readonly gone: string
}

const FOUND: Words = { fresh: "is not listed", gone: "is listed, and not there" }
const WRITTEN: Words = { fresh: "added", gone: "taken out" }

function changesBetween(before: Entries, after: Entries, { fresh, gone }: Words): readonly string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  return names.flatMap((name) => {
    const old = Object.hasOwn(before, name) ? before[name] : undefined
    const now = Object.hasOwn(after, name) ? after[name] : undefined
    if (old === undefined) return [`${name}: ${fresh}`]
    if (now === undefined) return [`${name}: ${gone}`]
    return diffEntries(old, now).map((difference) => `${name}: ${describeDifference(difference)}`)
  })
}
