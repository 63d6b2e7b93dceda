/**
 * Plugins that are npm packages: from `plugins.packages` and the node_modules of the plugin directory to entry
 * files. Nothing is ever downloaded here.
 */
import { readFile, realpath, stat } from "node:fs/promises"
import { join } from "node:path"
import { GatewayError } from "../errors.ts"
import { isInside } from "./containment.ts"

/** The npm package that a plugin is, as `plugins.packages` asks for it. */
export interface PluginPackage {
  readonly name: string
  readonly version: string
  /** Why it cannot be loaded: it is not there, or another version is. */
  readonly obstacle: GatewayError | undefined
}

export interface PackageSource {
  readonly package: PluginPackage
  /** The entry file; the package's folder where that is not known. */
  readonly file: string
  /** The package's folder. */
  readonly home: string
}

const SPEC = /^((?:@[a-z0-9][a-z0-9._~-]*\/)?[a-z0-9][a-z0-9._~-]*)@(.+)$/

/** `name@1.2.3` → its parts; undefined where it is none. */
export function parsePackage(spec: string): { readonly name: string; readonly version: string } | undefined {
  const [, name, version] = SPEC.exec(spec) ?? []
  return name === undefined || version === undefined ? undefined : { name, version }
}

/** Looks for a package where the package manager puts it. */
export async function findPackage(directory: string, spec: string): Promise<PackageSource> {
  const { name = "", version = "" } = parsePackage(spec) ?? {}
  const home = join(directory, "node_modules", name)
  const source = (obstacle: GatewayError | undefined, file = home): PackageSource => ({
    package: { name, version, obstacle },
    file,
    home,
  })
  if (name === "") return source(refusal(`"${spec}" in plugins.packages is no package with a version`))
  const manifest = await readManifest(home)
  const fix = `run \`leapgate plugin install ${name}@${version}\``
  if (manifest === undefined) return source(refusal(`package "${name}" is not in ${home}; ${fix}`))
  if (manifest.version !== version) {
    const found = typeof manifest.version === "string" ? manifest.version : "no version"
    const message = `package "${name}" is there in version ${found}, and plugins.packages wants ${version}; ${fix}, or change plugins.packages`
    return source(refusal(message))
  }
  const file = join(home, entryOf(manifest))
  const [realDirectory, realHome, realFile] = await Promise.all([directory, home, file].map(realPath))
  if (realDirectory === undefined || realHome === undefined || !isInside(realDirectory, realHome)) {
    const message = `package "${name}" in ${home} is a link to ${realHome}, outside the plugin directory; ${fix}`
    return source(refusal(message))
  }
  if (realFile === undefined || !isInside(realHome, realFile) || !(await stat(realFile)).isFile()) {
    return source(refusal(`package "${name}" has no entry file at ${file}; it is no plugin`))
  }
  return source(undefined, file)
}

function refusal(message: string): GatewayError {
  return new GatewayError("plugin_load_failed", message)
}

interface Manifest {
  readonly version?: unknown
  readonly exports?: unknown
  readonly module?: unknown
  readonly main?: unknown
}

async function readManifest(home: string): Promise<Manifest | undefined> {
  try {
    const manifest: unknown = JSON.parse(await readFile(join(home, "package.json"), "utf8"))
    return typeof manifest === "object" && manifest !== null ? manifest : undefined
  } catch {
    // Not there, or half written by a package manager at work: the next look finds it.
    return undefined
  }
}

/** As bundlers find it. */
function entryOf({ exports, module, main }: Manifest): string {
  const named = [exportOf(exports), module, main].find((entry) => typeof entry === "string" && entry !== "")
  return typeof named === "string" ? named : "index.js"
}

const CONDITIONS: readonly string[] = ["import", "default"]

/** What `exports` gives for the package itself. */
function exportOf(exports: unknown): string | undefined {
  if (typeof exports === "string") return exports
  if (typeof exports !== "object" || exports === null) return undefined
  const entries = Object.entries(exports)
  const root = entries.find(([key]) => key === ".")
  if (root !== undefined) return exportOf(root[1])
  for (const [key, value] of entries) {
    const found = CONDITIONS.includes(key) ? exportOf(value) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

async function realPath(path: string): Promise<string | undefined> {
  return realpath(path).catch(() => undefined)
}
