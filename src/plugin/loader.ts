/** Reads a plugin's code: builds it, imports it into a module registry of its own, checks its definition. */
import { GatewayError, messageOf } from "../errors.ts"
import type { BuiltPlugin, PluginBuilder } from "../source/build.ts"
import { positionOf, positionText } from "../source/source-position.ts"
import type { SourcePrint } from "../source/source-print.ts"
import type { Conduct } from "./conduct.ts"
import type { PluginDefinition } from "./contract.ts"
import type { PluginModule } from "./module-host.ts"
import type { PluginLock } from "./plugin-lock.ts"
import { type Candidate, manifestOf, type PluginRecord, type Release } from "./record.ts"
import type { PluginServices } from "./setup-context.ts"
import { checkDefinition } from "./validate.ts"

interface LoadOptions {
  readonly builder: PluginBuilder
  readonly lock: PluginLock
  readonly services: PluginServices
  /** Gives up; its reason is thrown. */
  readonly signal: AbortSignal
  readonly conduct: Conduct
  /** Told what the plugin's code throws when nobody waits for it. */
  onLateError(thrown: unknown): void
}

/**
 * Reads the code of a record as it is now. What was read is in `record.print`, even where it is no good.
 * @throws GatewayError `plugin_load_failed`, `plugin_integrity`, `plugin_invalid`, or the signal's reason
 */
export async function loadPlugin(record: PluginRecord, options: LoadOptions): Promise<Candidate> {
  if (record.definition !== undefined) return adopt(record.definition, record, options)
  const { artefact, ...print } = await buildOf(record, options.builder).catch((thrown) => {
    // Which files it would be made of is not known, so every look at the directory tries it again.
    record.print = undefined
    record.rejected = undefined
    throw thrown
  })
  options.signal.throwIfAborted()
  record.print = print
  await options.lock.assertListed(record, print)
  options.signal.throwIfAborted()
  return importArtefact(artefact, print, record, options)
}

/** Opens the code of a version that was set up before, as it was then. @throws GatewayError as `loadPlugin` */
export async function recallPlugin(
  { artefact, print }: Release,
  record: PluginRecord,
  options: LoadOptions,
): Promise<Candidate> {
  if (artefact !== undefined) return importArtefact(artefact, print, record, options)
  if (record.definition !== undefined) return adopt(record.definition, record, options)
  throw new GatewayError("internal_error", `nothing is left of plugin "${record.name}" to go back to`)
}

function adopt(definition: PluginDefinition, record: PluginRecord, options: LoadOptions): Candidate {
  const { services, onLateError: onError } = options
  const module = services.moduleHost.adopt(definition, { onError })
  return candidateOf(module, { artefact: undefined, print: undefined, isRecalled: false }, record, options)
}

async function importArtefact(
  artefact: string,
  print: SourcePrint | undefined,
  record: PluginRecord,
  options: LoadOptions,
): Promise<Candidate> {
  const module = await importModule(artefact, record, options)
  const isRecalled = print?.hash !== record.print?.hash
  return candidateOf(module, { artefact, print, isRecalled }, record, options)
}

function candidateOf(
  module: PluginModule,
  code: Pick<Candidate, "artefact" | "print" | "isRecalled">,
  { source }: PluginRecord,
  { conduct, onLateError }: LoadOptions,
): Candidate {
  try {
    const definition = checkDefinition(module.exports, source)
    return { ...code, definition, module, manifest: manifestOf(definition), conduct, onLateError }
  } catch (thrown) {
    module.dispose()
    throw thrown
  }
}

async function importModule(
  artefact: string,
  record: PluginRecord,
  { services, signal, onLateError: onError }: LoadOptions,
): Promise<PluginModule> {
  const limit = importLimit(record, services, signal)
  try {
    return await services.moduleHost.import(artefact, { onError, signal: limit.signal })
  } catch (thrown) {
    throw limit.signal.aborted ? thrown : importError(thrown, record)
  } finally {
    limit.lift()
  }
}

async function buildOf(record: PluginRecord, builder: PluginBuilder): Promise<BuiltPlugin> {
  const { source, artefacts, home } = record
  if (record.package?.obstacle !== undefined) throw record.package.obstacle
  return builder.build(source, artefacts, home)
}

/** Importing a plugin should do nothing, but its top level may wait for something that never comes. */
function importLimit(
  { source }: PluginRecord,
  { clock, setupTimeoutMs }: PluginServices,
  signal: AbortSignal,
) {
  const late = new AbortController()
  const lift = clock.after(setupTimeoutMs, () => {
    const message = `importing ${source} did not finish within ${setupTimeoutMs} ms; move what its top level awaits into setup`
    late.abort(new GatewayError("plugin_load_failed", message))
  })
  return { signal: AbortSignal.any([signal, late.signal]), lift }
}

/** Says where in a plugin's files its import failed, and why. */
export function importError(
  thrown: unknown,
  { source, files }: Pick<PluginRecord, "source" | "files">,
): GatewayError {
  const position = positionOf(thrown, files)
  const where = position === undefined ? source : positionText(position)
  const message = messageOf(thrown)
  return new GatewayError("plugin_load_failed", `${where}: importing it failed: ${message}`, {
    cause: thrown,
    details: { errors: position === undefined ? [] : [{ ...position, message }] },
  })
}
