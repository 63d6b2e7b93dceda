import { mkdtempSync } from "node:fs"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { GatewayError } from "../errors.ts"
import { type Containment, containmentIn } from "./containment.ts"
import { HOST_MODULES } from "./host-module-names.ts"
import { outsideError } from "./outside-error.ts"
import { printPackages } from "./package-print.ts"
import { positionText, type SourceError } from "./source-position.ts"
import { byText, combinedHash, type SourcePrint } from "./source-print.ts"
import { createSourceReader, type SourceReader, TICK_MS } from "./source-reader.ts"

export interface BuiltPlugin extends SourcePrint {
  readonly artefact: string
}

/** Builds plugins into a private directory of this process, which goes when the builder is closed. */
export class PluginBuilder {
  #directory: string | undefined

  /**
   * Bundles a plugin's entry file. The artefact's path is one of four for each plugin, never a new one: Bun
   * keeps something for ever for each path it imported. `keep` are the artefacts that may still be needed: of what
   * serves, of the canary, of the version before. They and their source maps stay as they are, so that their errors
   * still name the right lines. `home` is the folder that the plugin's files have to lie in.
   *
   * Two builds of one plugin must not overlap, nor a build and the import of the one before.
   * @throws GatewayError `plugin_load_failed` with file, line and column of every fault.
   */
  async build(entry: string, keep: readonly string[] = [], home = dirname(entry)): Promise<BuiltPlugin> {
    this.#directory ??= mkdtempSync(join(tmpdir(), `leapgate-${process.pid}-`))
    const outdir = join(this.#directory, slotName(entry))
    const naming = SLOTS.find((slot) => !keep.includes(join(outdir, slot))) ?? LAST_SLOT
    const containment = containmentIn(home)
    let reader = createSourceReader(containment)
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      await bundle({ entry, outdir, naming, containment, reader })
      if (await reader.isCertain()) {
        return { artefact: join(outdir, naming), ...(await printOf(reader.hashes, containment)) }
      }
      await Bun.sleep(TICK_MS)
      reader = createSourceReader(containment, reader.changeTimes)
    }
    const message = `${entry}: a file that it imports changes all the time, so it cannot be told what is in the bundle; import what is written to seldom, or read it in setup`
    throw new GatewayError("plugin_load_failed", message)
  }

  async close(): Promise<void> {
    const directory = this.#directory
    this.#directory = undefined
    if (directory !== undefined) await rm(directory, { recursive: true, force: true })
  }
}

/** One more than may be needed at a time. */
const SLOTS: readonly string[] = ["a.mjs", "b.mjs", "c.mjs"]
const LAST_SLOT = "d.mjs"

const MAX_ROUNDS = 5

/** Readable, and different for two plugins whose files have the same name. */
function slotName(entry: string): string {
  return `${basename(entry).replace(/[^\w-]/g, "_")}-${Bun.hash(entry).toString(36)}`
}

interface BundleOptions {
  readonly entry: string
  readonly outdir: string
  readonly naming: string
  readonly containment: Containment
  readonly reader: SourceReader
}

async function bundle({ entry, outdir, naming, containment, reader }: BundleOptions): Promise<void> {
  const options: Bun.BuildConfig & { macros: false } = {
    entrypoints: [entry],
    outdir,
    naming,
    target: "bun",
    format: "esm",
    sourcemap: "linked",
    external: [...HOST_MODULES],
    metafile: true,
    throw: false,
    // A macro is code that runs at once, in the gateway, and is in no bundle.
    macros: false,
    plugins: [reader.plugin],
  }
  const { success, logs, metafile } = await Bun.build(options)
  const [stranger] = reader.outside
  if (stranger !== undefined) throw outsideError({ entry, stranger, home: containment.home, metafile })
  if (!success) throw buildError(entry, logs)
}

async function printOf(hashes: ReadonlyMap<string, string>, containment: Containment): Promise<SourcePrint> {
  const files = [...hashes].map(([file, sha256]) => ({ file, sha256, place: containment.placeOf(file) }))
  const inputs = files
    .filter(({ place }) => place === "own")
    .map(({ file, sha256 }) => ({ file, name: containment.nameOf(file), sha256 }))
    .sort((a, b) => byText(a.name, b.name))
  const packages = await printPackages(files.filter(({ place }) => place === "package"))
  return { inputs, hash: combinedHash(inputs), packages }
}

export function buildError(entry: string, logs: readonly (BuildMessage | ResolveMessage)[]): GatewayError {
  const errors = logs
    .filter(({ level }) => level === "error")
    .map(({ message, position }): SourceError => {
      return {
        file: position?.file || entry,
        line: position?.line ?? 1,
        column: position?.column ?? 1,
        message,
      }
    })
  const [first] = errors
  const where = first === undefined ? entry : positionText(first)
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ""
  const what = first?.message ?? "the bundler gave no reason"
  return new GatewayError("plugin_load_failed", `${where}: ${what}${more}`, { details: { errors } })
}
