/** Looks for what may be wrong with plugins without running them: one line for each finding. */
import { dirname, relative } from "node:path"
import { type LoadedConfig, loadConfig } from "../config/load.ts"
import { messageOf } from "../errors.ts"
import type { PluginDefinition } from "../plugin/contract.ts"
import { resolveConfig } from "../plugin/plugin-config.ts"
import { pluginDirectory, pluginSettings } from "../plugin-settings.ts"
import type { PluginSource } from "../source/discover.ts"
import { describeDifference, differences, entryOf, LOCK_FILE } from "../source/lock.ts"
import type { SourcePrint } from "../source/source-print.ts"
import { bad, doubtful, type Finding, good, showFindings } from "./finding.ts"
import { readLock } from "./lock-file.ts"
import { readDefinition } from "./plugin-definition.ts"
import { describeImports, pluginImports } from "./plugin-imports.ts"
import { schemaFaults } from "./plugin-schema.ts"
import { homeOf, pluginTargets, testsOf } from "./plugin-target.ts"
import type { ConfigOption } from "./program.ts"
import type { Terminal } from "./terminal.ts"
import { createTypeChecker, type TypeChecker } from "./type-check.ts"

/** One plugin on the bench. */
interface Subject {
  readonly plugin: PluginSource
  readonly loaded: LoadedConfig
  readonly cwd: string
  readonly types: TypeChecker
}

type Check = (subject: Subject) => Promise<readonly Finding[]>

const CHECKS: readonly Check[] = [typeFindings, importFindings, definitionFindings, testFindings]

/** @returns the exit code: 1 where something is wrong */
export async function verifyPlugins(
  targets: readonly string[],
  { config: path }: ConfigOption,
  { out, env, cwd }: Terminal,
): Promise<number> {
  const loaded = loadConfig({ path, env, cwd })
  const plugins = await pluginTargets(targets, loaded, cwd)
  if (plugins.length === 0) {
    out("no plugins")
    return 0
  }
  await using types = createTypeChecker()
  const findings: Finding[] = []
  for (const plugin of plugins) {
    for (const check of CHECKS) findings.push(...(await check({ plugin, loaded, cwd, types })))
  }
  const exitCode = showFindings(findings, out)
  out(NOT_RUN)
  return exitCode
}

const NOT_RUN =
  "setup was not run, so nothing is said of what it returns: `leapgate plugin test` runs it, and so does loading"

async function typeFindings({ plugin, types, cwd }: Subject): Promise<readonly Finding[]> {
  const faults = await types.check(plugin.file)
  if (faults.length === 0) return [good(`${plugin.name}: types fit`)]
  return faults.map(({ file, line, column, message }) =>
    bad(`${plugin.name}: ${relative(cwd, file)}:${line}:${column}: ${message}`),
  )
}

async function importFindings({ plugin }: Subject): Promise<readonly Finding[]> {
  const imports = await pluginImports(plugin.file)
  if (imports === undefined) return []
  return [good(`${plugin.name}: imports ${describeImports(imports, dirname(plugin.file))}`)]
}

async function definitionFindings({ plugin, loaded }: Subject): Promise<readonly Finding[]> {
  try {
    const directory = pluginDirectory(loaded)
    const { definition, print } = await readDefinition(plugin.file, homeOf(plugin, directory))
    const { name, version, type, config } = definition
    const told = name === plugin.name ? "" : ` "${name}"`
    return [
      good(`${plugin.name}: is the ${type}${told} ${version}`),
      ...(config === undefined
        ? []
        : schemaFaults(name, config).map((text) => bad(`${plugin.name}: ${text}`))),
      settingsFinding(plugin.name, definition, loaded),
      ...lockFindings(plugin, print, loaded),
    ]
  } catch (thrown) {
    return [bad(`${plugin.name}: ${messageOf(thrown)}`)]
  }
}

function settingsFinding(label: string, { name, config }: PluginDefinition, loaded: LoadedConfig): Finding {
  const settings = pluginSettings(loaded.config, name)
  try {
    resolveConfig(name, config, settings?.config)
  } catch (thrown) {
    const hint = settings === undefined ? "; it has no settings in the config yet" : ""
    return bad(`${label}: ${messageOf(thrown)}${hint}`)
  }
  if (settings === undefined) return good(`${label}: works with the defaults of its settings`)
  return settings.enabled
    ? good(`${label}: its settings fit`)
    : doubtful(`${label}: its settings fit, and it is off`)
}

/** Says nothing where there is no lock. */
function lockFindings(
  { name, file }: PluginSource,
  print: SourcePrint,
  loaded: LoadedConfig,
): readonly Finding[] {
  const lock = readLock(loaded)
  if (lock === undefined) return []
  const entry = entryOf(lock, relative(pluginDirectory(loaded), file))
  const fix = "run `leapgate plugin lock` once you trust it"
  if (entry === undefined) return [doubtful(`${name}: is not in ${LOCK_FILE}; ${fix}`)]
  const found = differences(entry, print).map(describeDifference)
  if (found.length === 0) return [good(`${name}: is what ${LOCK_FILE} says`)]
  return [bad(`${name}: is not what ${LOCK_FILE} says: ${found.join(", ")}; ${fix}`)]
}

async function testFindings({ plugin, loaded }: Subject): Promise<readonly Finding[]> {
  const tests = testsOf(plugin, pluginDirectory(loaded))
  return tests.length > 0
    ? [good(`${plugin.name}: has ${tests.length === 1 ? "a test" : `${tests.length} tests`}`)]
    : [doubtful(`${plugin.name}: has no test`)]
}
