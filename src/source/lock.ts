/**
 * `plugins.lock`: which plugins a directory holds, and the hash of every file that they are made of. Pure: text
 * goes in and out. It is written so that a change of one file is a change of one line.
 */
import { type Static, Type } from "@sinclair/typebox"
import { Value } from "@sinclair/typebox/value"
import { byText, type PackagePrint, type SourcePrint } from "./source-print.ts"

export const LOCK_FILE = "plugins.lock"
export const LOCK_VERSION = 1

const Sha256 = Type.String({ pattern: "^[0-9a-f]{64}$" })

const EntrySchema = Type.Object(
  {
    version: Type.String(),
    /** The entry file, relative to the directory, or `package:<name>`. */
    source: Type.String(),
    /** By path, relative to the directory, or to the package. */
    files: Type.Record(Type.String(), Sha256),
    /** By `name@version`. */
    packages: Type.Record(Type.String(), Sha256),
  },
  { additionalProperties: false },
)

const LockSchema = Type.Object(
  { version: Type.Literal(LOCK_VERSION), plugins: Type.Record(Type.String(), EntrySchema) },
  { additionalProperties: false },
)

export type LockEntry = Readonly<Static<typeof EntrySchema>>

export interface Lock {
  readonly version: typeof LOCK_VERSION
  /** By the plugin's name. */
  readonly plugins: Readonly<Record<string, LockEntry>>
}

/** One thing that is not as the lock says; undefined is not there. */
export interface LockDifference {
  readonly what: string
  readonly expected: string | undefined
  readonly actual: string | undefined
}

/** @throws Error that says what is wrong, and where */
export function parseLock(text: string): Lock {
  const value: unknown = JSON.parse(text)
  const fault = Value.Errors(LockSchema, value).First()
  if (fault !== undefined) throw new Error(`${fault.path || "/"}: ${fault.message}`)
  const lock = value as Lock
  const sources = new Set<string>()
  for (const [name, { source, files }] of Object.entries(lock.plugins)) {
    const stray = [source.replace(/^package:/, ""), ...Object.keys(files)].find((path) => !staysInside(path))
    if (stray !== undefined) throw new Error(`/plugins/${name}: "${stray}" is no path inside the directory`)
    if (sources.has(source)) throw new Error(`/plugins/${name}: "${source}" is listed twice`)
    sources.add(source)
  }
  return lock
}

/** Sorted, and with a line for each hash. */
export function formatLock({ plugins }: Lock): string {
  const sorted = entriesOf(plugins).map(([name, { version, source, files, packages }]) => [
    name,
    { version, source, files: sortedRecord(files), packages: sortedRecord(packages) },
  ])
  return `${JSON.stringify({ version: LOCK_VERSION, plugins: Object.fromEntries(sorted) }, null, 2)}\n`
}

/** What the lock says of the plugin with this source. */
export function entryOf({ plugins }: Lock, source: string): LockEntry | undefined {
  return Object.values(plugins).find((entry) => entry.source === source)
}

/** What an entry says of a plugin that is made of this. */
export function entryFrom(version: string, source: string, { inputs, packages }: SourcePrint): LockEntry {
  return {
    version,
    source,
    files: Object.fromEntries(inputs.map(({ name, sha256 }) => [name, sha256])),
    packages: Object.fromEntries(packages.map(({ id, sha256 }) => [id, sha256])),
  }
}

/**
 * What is not as the entry says. A file that is listed and was not bundled counts too: what is left out of a
 * plugin can matter as much as what is put in.
 */
export function differences(entry: LockEntry, { inputs, packages }: SourcePrint): readonly LockDifference[] {
  const files = inputs.map(({ name, sha256 }): PackagePrint => ({ id: name, sha256 }))
  return [...compare(entry.files, files), ...compare(entry.packages, packages)]
}

/** What an entry says otherwise than one that was made of the same plugin now. */
export function diffEntries(entry: LockEntry, now: LockEntry): readonly LockDifference[] {
  const facts = (["version", "source"] as const)
    .filter((fact) => entry[fact] !== now[fact])
    .map((fact) => ({ what: fact, expected: entry[fact], actual: now[fact] }))
  return [
    ...facts,
    ...compare(entry.files, printsOf(now.files)),
    ...compare(entry.packages, printsOf(now.packages)),
  ]
}

/** For people: `a.ts (expected 0a1b2c3d4e5f, found 5f4e3d2c1b0a)`. */
export function describeDifference({ what, expected, actual }: LockDifference): string {
  if (expected === undefined) return `${what} (not listed, found ${shortHash(actual)})`
  if (actual === undefined) return `${what} (expected ${shortHash(expected)}, not part of it)`
  return `${what} (expected ${shortHash(expected)}, found ${shortHash(actual)})`
}

/** What was found is a list because two files may come to one name: each of them has to be as listed. */
function compare(
  listed: Readonly<Record<string, string>>,
  found: readonly PackagePrint[],
): readonly LockDifference[] {
  const present = new Set(found.map(({ id }) => id))
  const absent = entriesOf(listed)
    .filter(([what]) => !present.has(what))
    .map(([what, expected]) => ({ what, expected, actual: undefined }))
  const other = found
    .map(({ id, sha256 }) => ({ what: id, expected: ownValue(listed, id), actual: sha256 }))
    .filter(({ expected, actual }) => expected !== actual)
  return [...other, ...absent]
}

function printsOf(hashes: Readonly<Record<string, string>>): readonly PackagePrint[] {
  return Object.entries(hashes).map(([id, sha256]) => ({ id, sha256 }))
}

function ownValue(record: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined
}

function staysInside(path: string): boolean {
  return (
    path !== "" &&
    !/\\|\0/.test(path) &&
    path.split("/").every((part) => part !== "" && !/^\.\.?$/.test(part))
  )
}

/** Enough to tell two apart by eye. What is no hash is shown whole. */
function shortHash(value = ""): string {
  return /^[0-9a-f]{64}$/.test(value) ? value.slice(0, 12) : value
}

function entriesOf<T>(record: Readonly<Record<string, T>>): readonly (readonly [string, T])[] {
  return Object.entries(record).sort(([a], [b]) => byText(a, b))
}

const sortedRecord = (record: Readonly<Record<string, string>>) => Object.fromEntries(entriesOf(record))
