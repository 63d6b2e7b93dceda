/** From a YAML file, the environment and the schema's defaults to a Config, or to every fault at once. */
import { readFileSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { Decode } from "@sinclair/typebox/value"
import defaultText from "../../config.yaml" with { type: "text" }
import { GatewayError } from "../errors.ts"
import { withDefaults } from "./defaults.ts"
import { configInvalid, describeFault, faultsOf, type Problem } from "./faults.ts"
import { type Pointer, segmentsOf, valueAt } from "./pointer.ts"
import { ruleProblems, ruleWarnings } from "./rules.ts"
import { type Config, ConfigSchema } from "./schema.ts"
import { fitVariables, schemaProblems } from "./schema-problems.ts"
import { parseTree } from "./tree.ts"
import { expandVariables, type VariableSource, type VariableUse } from "./variables.ts"

interface Overrides {
  readonly host?: string
  readonly port?: number
  readonly adminListen?: string
}

export interface LoadOptions {
  /** The file to read. None: `config.yaml` in `cwd` if there is one, else the built-in default. */
  readonly path?: string | undefined
  /** Read this instead of the file; `path` then only names it. */
  readonly text?: string
  /** What the command line says; wins over the file. */
  readonly overrides?: Overrides
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

export interface LoadedConfig {
  readonly config: Config
  /** Absolute; undefined for the built-in default. */
  readonly path: string | undefined
  /** What relative paths in the config are relative to. */
  readonly directory: string
  /** What was read, before variables were filled in. */
  readonly text: string
  /** Sentences with the place in front. */
  readonly warnings: readonly string[]
  /** Providers whose key or address is not set. `reason` is a whole sentence. */
  readonly skippedProviders: readonly { readonly name: string; readonly reason: string }[]
}

export const DEFAULT_FILE = "config.yaml"

/** @throws GatewayError `config_invalid`, with `details.faults`. */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const source = sourceOf(options)
  const tree = parseTree(source.text)
  if (tree.problems.length > 0) throw configInvalid(source.name, faultsOf(tree.problems, tree, source.name))

  const expanded = expandVariables(tree.value, variableSource(options.env, source.directory))
  const value = withOverrides(
    withDefaults(ConfigSchema, withoutNulls(expanded.value) ?? {}),
    options.overrides,
  )
  fitVariables(ConfigSchema, value, expanded.uses)
  const outcome = judgeVariables(expanded.uses)
  const problems = [
    ...outcome.problems,
    ...schemaProblems(ConfigSchema, value, expanded.uses).filter(
      ({ pointer }) => !outcome.excused.has(pointer),
    ),
    ...ruleProblems(value),
  ]
  const faults = faultsOf(problems, tree, source.name)
  if (faults.length > 0) throw configInvalid(source.name, faults)

  const warnings = faultsOf([...outcome.warnings, ...ruleWarnings(value)], tree, source.name)
  return {
    config: Decode(ConfigSchema, withoutProviders(value, outcome.skipped)),
    path: source.path,
    directory: source.directory,
    text: source.text,
    warnings: warnings.map(describeFault),
    skippedProviders: [...outcome.skipped].map(([index, reasons]) => skippedProvider(value, index, reasons)),
  }
}

interface Source {
  readonly text: string
  /** How messages call it. */
  readonly name: string
  readonly path: string | undefined
  readonly directory: string
}

function sourceOf({ path, text, cwd }: LoadOptions): Source {
  const name = path ?? DEFAULT_FILE
  const absolute = resolve(cwd, name)
  const found = { name, path: absolute, directory: dirname(absolute) }
  if (text !== undefined) return { ...found, text, path: path === undefined ? undefined : absolute }
  try {
    return { ...found, text: readFileSync(absolute, "utf8") }
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code
    if (path === undefined && code === "ENOENT") {
      return { text: defaultText, name: "built-in config.yaml", path: undefined, directory: cwd }
    }
    const why = code === "ENOENT" ? "there is no such file" : `the system says ${code}`
    throw new GatewayError("config_invalid", `the config file ${name} cannot be read: ${why}`, {
      cause: thrown,
      details: { faults: [] },
    })
  }
}

function variableSource(env: LoadOptions["env"], directory: string): VariableSource {
  return {
    env,
    readFile(path) {
      try {
        return readFileSync(resolve(directory, path), "utf8").trim()
      } catch {
        // The message says that it cannot be read, and where it is asked for.
        return undefined
      }
    },
  }
}

/** A section whose lines are all commented out reads as null and means the defaults. */
function withoutNulls(value: unknown, path: readonly string[] = []): unknown {
  if (isPluginConfig(path)) return value
  if (Array.isArray(value)) return value.map((item, index) => withoutNulls(item, [...path, String(index)]))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .map(([key, item]) => [key, withoutNulls(item, [...path, key])]),
  )
}

function withOverrides(value: unknown, { adminListen, ...address }: Overrides = {}): unknown {
  const server = valueAt(value, "server")
  if (typeof server === "object" && server !== null) Object.assign(server, address)
  const admin = valueAt(value, "admin")
  if (adminListen !== undefined && typeof admin === "object" && admin !== null) {
    Object.assign(admin, { listen: adminListen })
  }
  return value
}

/** `plugins.configs.<name>.config` and below: what only the plugin itself can judge. */
const isPluginConfig = ([first, second, , fourth]: readonly string[]): boolean =>
  first === "plugins" && second === "configs" && fourth === "config"

/** Without these a provider cannot be called, which is no reason not to start. */
const isProviderAccess = ([first, , third]: readonly string[]): boolean =>
  first === "providers" && ["api_key", "base_url", "headers"].includes(third ?? "")

interface Judgement {
  readonly problems: readonly Problem[]
  readonly warnings: readonly Problem[]
  /** Reasons by the index of the provider that they leave out. */
  readonly skipped: ReadonlyMap<number, readonly string[]>
  /** Places that the schema need not judge as well. */
  readonly excused: ReadonlySet<Pointer>
}

/** What a variable without a value means depends on where it stands. */
function judgeVariables(uses: ReadonlyMap<Pointer, VariableUse>): Judgement {
  const problems: Problem[] = []
  const warnings: Problem[] = []
  const skipped = new Map<number, readonly string[]>()
  const excused = new Set<Pointer>()
  for (const [pointer, use] of uses) {
    const path = segmentsOf(pointer)
    const why = use.missing.join(" and ")
    if (use.malformed) {
      problems.push({
        pointer,
        message: `has a "\${" without a name and a "}"; a literal one is written "$\${"`,
      })
    } else if (isProviderAccess(path)) {
      const reasons = [...use.missing, ...use.empty]
      if (reasons.length === 0) continue
      const index = Number(path[1])
      skipped.set(index, [...(skipped.get(index) ?? []), ...reasons])
      excused.add(pointer)
    } else if (use.missing.length > 0 && isPluginConfig(path)) {
      warnings.push({ pointer, message: `is left out: ${why}` })
    } else if (use.missing.length > 0) {
      problems.push({ pointer, message: `${why}; ${path[0] === "auth" ? KEY_FIX : VARIABLE_FIX}` })
    }
  }
  return { problems, warnings, skipped, excused }
}

const KEY_FIX = "set it, or remove this key"
const VARIABLE_FIX = `set it, or give a default as in "\${NAME:-default}"`

function withoutProviders(value: unknown, skipped: Judgement["skipped"]): unknown {
  const config = value as { readonly providers: readonly unknown[] }
  return { ...config, providers: config.providers.filter((_, index) => !skipped.has(index)) }
}

function skippedProvider(value: unknown, index: number, reasons: readonly string[]) {
  const name = String(valueAt(value, "providers", index, "name"))
  return { name, reason: `provider "${name}" is left out: ${reasons.join(" and ")}` }
}
