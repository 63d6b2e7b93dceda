/**
 * Reads the files of one build. What is hashed are the bytes that are bundled: the bundler gets them from here,
 * and reads nothing a second time.
 *
 * The bundler does not tell a loader which import attributes (`with { type: "text" }`) it has found. So once a
 * file of the build has some, and for what is no code or data anyway, the bundler reads on its own; such a file
 * was certainly bundled as it was hashed if it is the same after the build, and was not touched from some time
 * before it on.
 */
import { realpathSync } from "node:fs"
import { readFile, stat } from "node:fs/promises"
import { extname } from "node:path"
import type { BunPlugin, OnLoadArgs, OnLoadResult } from "bun"
import type { Containment } from "./containment.ts"
import { sha256Of } from "./source-print.ts"

export interface SourceReader {
  readonly plugin: BunPlugin
  /** The hash of everything that was read, by its absolute path without symbolic links. */
  readonly hashes: ReadonlyMap<string, string>
  /** Files that the plugin may not consist of. Nothing of them was read or bundled. */
  readonly outside: ReadonlySet<string>
  /** Whether everything was bundled as it was hashed. To be asked after the build. */
  isCertain(): Promise<boolean>
  /** When the files that the bundler read on its own were changed last, for the reader of another attempt. */
  readonly changeTimes: ChangeTimes
}

/** In nanoseconds; undefined where that is not known. */
type ChangeTimes = ReadonlyMap<string, bigint | undefined>

/** Files keep timestamps of the kernel's tick: two changes within this time may leave the same one. */
export const TICK_MS = 10

/** What the bundler takes from here. Everything else is copied beside the bundle, or refused. */
const TAKEN_OVER: ReadonlySet<string> = new Set(
  ".js .jsx .mjs .cjs .ts .tsx .mts .cts .json .jsonc .json5 .toml .yaml .yml .txt".split(" "),
)
/** Finds every import attribute, and now and then something else, which does no harm. */
const ATTRIBUTE = /\b(?:with|assert)["']?\s*:?\s*(?:\{|\/[*/])/
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]
/** Lets a build that will be refused come to its end, where it is known who imports what. */
const NOTHING: OnLoadResult = { contents: "module.exports = {}", loader: "js" }

/** @param earlier what an attempt of at least a tick ago saw */
export function createSourceReader(containment: Containment, earlier: ChangeTimes = new Map()): SourceReader {
  const hashes = new Map<string, string>()
  const outside = new Set<string>()
  const changeTimes = new Map<string, bigint | undefined>()
  /** What was changed so lately that another change might not show in its time. */
  const fresh = new Set<string>()
  let hasAttributes = false

  return {
    plugin: { name: "leapgate-source-reader", setup: (build) => void build.onLoad({ filter: /./ }, load) },
    hashes,
    outside,
    isCertain,
    changeTimes,
  }

  async function load({ path, loader }: OnLoadArgs): Promise<OnLoadResult> {
    try {
      const file = realpathSync(path)
      if (containment.placeOf(file) === "outside") {
        outside.add(file)
        return NOTHING
      }
      const isTaken = !hasAttributes && TAKEN_OVER.has(extname(path))
      if (!isTaken) await noteChangeTime(file)
      const content = await readFile(file)
      hashes.set(file, sha256Of(content))
      hasAttributes ||= ATTRIBUTE.test(content.toString("latin1"))
      return isTaken ? { contents: withoutMark(content), loader } : undefined
    } catch {
      // The bundler says better what is wrong with it; should it be able to read it now, that is not certain.
      changeTimes.set(path, undefined)
      return undefined
    }
  }

  async function noteChangeTime(file: string): Promise<void> {
    const changeTime = await changeTimeOf(file)
    changeTimes.set(file, changeTime)
    const ageMs = Date.now() - Number(changeTime / 1_000_000n)
    if (ageMs < TICK_MS && earlier.get(file) !== changeTime) fresh.add(file)
  }

  async function isCertain(): Promise<boolean> {
    if (fresh.size > 0) return false
    const checks = [...changeTimes].map(async ([file, changeTime]) => {
      if (changeTime === undefined || (await changeTimeOf(file)) !== changeTime) return false
      return sha256Of(await readFile(file)) === hashes.get(file)
    })
    return (await Promise.all(checks.map((check) => check.catch(() => false)))).every(Boolean)
  }
}

async function changeTimeOf(file: string): Promise<bigint> {
  return (await stat(file, { bigint: true })).ctimeNs
}

/** As the bundler does it with what it reads. */
function withoutMark(content: Uint8Array): Uint8Array {
  return BYTE_ORDER_MARK.every((byte, index) => content[index] === byte) ? content.subarray(3) : content
}
