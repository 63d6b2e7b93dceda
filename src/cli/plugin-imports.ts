/** What a plugin imports, as the bundler sees it. */
import { isBuiltin } from "node:module"
import { relative, resolve } from "node:path"
import { HOST_MODULES } from "../source/host-module-names.ts"
import { packageName } from "../source/package-print.ts"

export interface PluginImports {
  /** Absolute, the entry first. */
  readonly files: readonly string[]
  /** npm packages by name. */
  readonly packages: readonly string[]
  /** Of Node.js and Bun. */
  readonly builtins: readonly string[]
  /** Of the gateway: `leapgate/plugin` and TypeBox. */
  readonly host: readonly string[]
}

/** Undefined where it cannot be built; what is wrong then is told by whoever loads it. */
export async function pluginImports(entry: string): Promise<PluginImports | undefined> {
  const { success, metafile } = await Bun.build({
    entrypoints: [entry],
    target: "bun",
    external: [...HOST_MODULES],
    metafile: true,
    throw: false,
  })
  if (!success || metafile === undefined) return undefined
  const inputs = Object.entries(metafile.inputs).map(([file, input]) => ({ file: resolve(file), ...input }))
  const named = [...new Set(inputs.flatMap(({ imports }) => imports.map(({ path }) => path)))].sort()
  return {
    files: inputs
      .map(({ file }) => file)
      .filter((file) => packageName(file) === undefined)
      .sort(entryFirst(entry)),
    packages: [...new Set(inputs.flatMap(({ file }) => packageName(file) ?? []))].sort(),
    builtins: named.filter(isBuiltin).map(fullName),
    host: HOST_MODULES.filter((name) => named.includes(name)).sort(),
  }
}

/** The bundler shortens `node:fs` to `fs`. */
function fullName(builtin: string): string {
  return /^(?:node|bun):|^bun$/.test(builtin) ? builtin : `node:${builtin}`
}

function entryFirst(entry: string): (a: string, b: string) => number {
  return (a, b) => Number(b === entry) - Number(a === entry) || (a < b ? -1 : 1)
}

/** For people: paths relative to the entry's folder. */
export function describeImports({ files, packages, builtins, host }: PluginImports, folder: string): string {
  const own = files.slice(1).map((file) => relative(folder, file))
  const groups = [
    ["", host],
    ["packages ", packages],
    ["built-in ", builtins],
    ["own files ", own],
  ] as const
  const said = groups.filter(([, names]) => names.length > 0).map(([what, names]) => what + names.join(", "))
  return said.length === 0 ? "nothing" : said.join("; ")
}
