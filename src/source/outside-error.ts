import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { GatewayError } from "../errors.ts"
import { realPathOf } from "./containment.ts"
import { positionText, type SourceError } from "./source-position.ts"

interface OutsideOptions {
  readonly entry: string
  /** The file that the plugin may not consist of, without symbolic links. */
  readonly stranger: string
  readonly home: string
  readonly metafile: Bun.BuildMetafile | undefined
}

/** Says which import leaves the folder that a plugin has to stay in. */
export function outsideError({ entry, stranger, home, metafile }: OutsideOptions): GatewayError {
  const rule = `outside ${home}, which a plugin may not leave; copy it there, or make a package of it`
  if (realPathOf(entry) === stranger) {
    return new GatewayError("plugin_load_failed", `${entry} leads to ${stranger}, ${rule}`)
  }
  const found = findImport(stranger, metafile)
  if (found === undefined) {
    return new GatewayError("plugin_load_failed", `${entry} imports ${stranger}, ${rule}`)
  }
  const message = `imports "${found.specifier}", which is ${stranger}, ${rule}`
  const error: SourceError = { ...placeIn(found.importer, found.specifier), message }
  return new GatewayError("plugin_load_failed", `${positionText(error)}: ${message}`, {
    details: { errors: [error] },
  })
}

function findImport(stranger: string, metafile: Bun.BuildMetafile | undefined) {
  for (const [importer, { imports }] of Object.entries(metafile?.inputs ?? {})) {
    const found = imports.find(({ path }) => realPathOf(resolve(path)) === stranger)
    if (found !== undefined) return { importer: resolve(importer), specifier: found.original ?? found.path }
  }
  return undefined
}

/** Where the specifier stands first in a file. */
function placeIn(file: string, specifier: string): Pick<SourceError, "file" | "line" | "column"> {
  const lines = readFileSync(file, "utf8").split("\n")
  const index = lines.findIndex((line) => line.includes(specifier))
  return { file, line: Math.max(index, 0) + 1, column: (lines[index]?.indexOf(specifier) ?? 0) + 1 }
}
