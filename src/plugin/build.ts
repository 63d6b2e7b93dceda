import { createHash } from "node:crypto"
import { mkdtempSync } from "node:fs"
import { readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, join, resolve, sep } from "node:path"
import { GatewayError } from "../errors.ts"
import { HOST_MODULES } from "./host-modules.ts"
import { positionText, type SourceError } from "./source-position.ts"

/** Which sources a build read, and what was in them. */
export interface SourcePrint {
  readonly inputs: readonly string[]
  readonly hash: string
}

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
   * still name the right lines.
   *
   * Two builds of one plugin must not overlap, nor a build and the import of the one before.
   * @throws GatewayError `plugin_load_failed` with file, line and column of every fault.
   */
  async build(entry: string, keep: readonly string[] = []): Promise<BuiltPlugin> {
    this.#directory ??= mkdtempSync(join(tmpdir(), `leapgate-${process.pid}-`))
    const outdir = join(this.#directory, slotName(entry))
    const naming = SLOTS.find((slot) => !keep.includes(join(outdir, slot))) ?? LAST_SLOT
    let before: string | undefined
    for (let round = 1; ; round++) {
      const startedMs = Date.now()
      const inputs = await bundle(entry, outdir, naming)
      const hash = await hashOf(inputs)
      // A file saved while it was read may be in the bundle in its old form and in the hash in its new one. It is
      // not where nothing was saved of late, or where everything was the same before the build and after it.
      const isSure = hash === before || (await newestChangeMs(inputs)) < startedMs - TIMESTAMP_SLACK_MS
      if (isSure || round === MAX_ROUNDS) {
        return { artefact: join(outdir, naming), inputs, hash: isSure ? hash : "" }
      }
      before = hash
    }
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

/** Files keep timestamps of the kernel's tick, which lags behind the clock by some milliseconds. */
const TIMESTAMP_SLACK_MS = 10
const MAX_ROUNDS = 5

/** The hash of these files' contents; a missing file counts as one more content. */
export async function hashOf(files: readonly string[]): Promise<string> {
  const contents = await Promise.all(files.map((file) => readFile(file).catch(() => undefined)))
  const hash = createHash("sha256")
  for (const [index, content] of contents.entries()) {
    hash.update(`${files[index]}\0${content?.length ?? "missing"}\0`)
    if (content !== undefined) hash.update(content)
  }
  return hash.digest("hex")
}

async function newestChangeMs(files: readonly string[]): Promise<number> {
  const times = await Promise.all(
    files.map((file) =>
      stat(file).then(
        ({ ctimeMs }) => ctimeMs,
        () => Number.POSITIVE_INFINITY,
      ),
    ),
  )
  return Math.max(...times)
}

/** Readable, and different for two plugins whose files have the same name. */
function slotName(entry: string): string {
  return `${basename(entry).replace(/[^\w-]/g, "_")}-${Bun.hash(entry).toString(36)}`
}

/** @returns the absolute paths of the plugin's own files: its entry and what it imports, without packages. */
async function bundle(entry: string, outdir: string, naming: string): Promise<readonly string[]> {
  const { success, logs, metafile } = await Bun.build({
    entrypoints: [entry],
    outdir,
    naming,
    target: "bun",
    format: "esm",
    sourcemap: "linked",
    external: [...HOST_MODULES],
    metafile: true,
    throw: false,
  })
  if (!success || metafile === undefined) throw buildError(entry, logs)
  const files = Object.keys(metafile.inputs).map((file) => resolve(file))
  return files.filter((file) => !file.includes(`${sep}node_modules${sep}`)).sort()
}

function buildError(entry: string, logs: readonly (BuildMessage | ResolveMessage)[]): GatewayError {
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
