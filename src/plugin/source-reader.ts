/**
 * Reads the files of one build. What is hashed are the bytes that are bundled: the bundler gets them from here,
 * and reads nothing a second time.
 *
 * The bundler does not tell a loader which import attributes (`with { type: "text" }`) it has found. So once a
 * file of the build has some, and for what is no code or data anyway, the bundler reads on its own; such a file
 * was certainly bundled as it was hashed if it is the same after the build and was not touched since.
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
}

/** What the bundler takes from here. Everything else is copied beside the bundle, or refused. */
const TAKEN_OVER: ReadonlySet<string> = new Set(
  ".js .jsx .mjs .cjs .ts .tsx .mts .cts .json .jsonc .json5 .toml .yaml .yml .txt".split(" "),
)
/** Finds every import attribute, and now and then something else, which does no harm. */
const ATTRIBUTE = /\b(?:with|assert)["']?\s*:?\s*(?:\{|\/[*/])/
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]
/** Lets a build that will be refused come to its end, where it is known who imports what. */
const NOTHING: OnLoadResult = { contents: "module.exports = {}", loader: "js" }

export function createSourceReader(containment: Containment): SourceReader {
  const hashes = new Map<string, string>()
  const outside = new Set<string>()
  /** What the bundler reads on its own, with when it was changed last. */
  const untaken = new Map<string, bigint | undefined>()
  let hasAttributes = false

  return {
    plugin: { name: "leapgate-source-reader", setup: (build) => void build.onLoad({ filter: /./ }, load) },
    hashes,
    outside,
    isCertain,
  }

  async function load({ path, loader }: OnLoadArgs): Promise<OnLoadResult> {
    try {
      const file = realpathSync(path)
      if (containment.placeOf(file) === "outside") {
        outside.add(file)
        return NOTHING
      }
      const isTaken = !hasAttributes && TAKEN_OVER.has(extname(path))
      if (!isTaken) untaken.set(file, await changeTimeOf(file))
      const content = await readFile(file)
      hashes.set(file, sha256Of(content))
      hasAttributes ||= ATTRIBUTE.test(content.toString("latin1"))
      return isTaken ? { contents: withoutMark(content), loader } : undefined
    } catch {
      // The bundler says better what is wrong with it; should it be able to read it now, that is not certain.
      untaken.set(path, undefined)
      return undefined
    }
  }

  async function isCertain(): Promise<boolean> {
    const checks = [...untaken].map(async ([file, changeTime]) => {
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
