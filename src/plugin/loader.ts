/** Reads a plugin's code: builds it, imports it into a module registry of its own, checks its definition. */
import { GatewayError, messageOf } from "../errors.ts"
import type { BuiltPlugin, PluginBuilder } from "./build.ts"
import type { Conduct } from "./conduct.ts"
import type { PluginLock } from "./plugin-lock.ts"
import { type Candidate, manifestOf, type PluginRecord } from "./record.ts"
import type { PluginServices } from "./setup-context.ts"
import { positionOf, positionText } from "./source-position.ts"
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
  const { module, artefact, print } = await openModule(record, options)
  const { conduct, onLateError } = options
  try {
    const definition = checkDefinition(module.exports, record.source)
    return { definition, module, artefact, print, manifest: manifestOf(definition), conduct, onLateError }
  } catch (thrown) {
    module.dispose()
    throw thrown
  }
}

async function openModule(
  record: PluginRecord,
  { builder, lock, services, signal, onLateError: onError }: LoadOptions,
): Promise<Pick<Candidate, "module" | "artefact" | "print">> {
  if (record.definition !== undefined) {
    const module = services.moduleHost.adopt(record.definition, { onError })
    return { module, artefact: undefined, print: undefined }
  }
  const { artefact, ...print } = await buildOf(record, builder).catch((thrown) => {
    // Which files it would be made of is not known, so every look at the directory tries it again.
    record.print = undefined
    throw thrown
  })
  signal.throwIfAborted()
  record.print = print
  await lock.assertListed(record, print)
  signal.throwIfAborted()
  const limit = importLimit(record, services, signal)
  try {
    const module = await services.moduleHost.import(artefact, { onError, signal: limit.signal })
    return { module, artefact, print }
  } catch (thrown) {
    throw limit.signal.aborted ? thrown : importError(thrown, record)
  } finally {
    limit.lift()
  }
}

async function buildOf(record: PluginRecord, builder: PluginBuilder): Promise<BuiltPlugin> {
  const { source, artefact, home } = record
  if (record.package?.obstacle !== undefined) throw record.package.obstacle
  return builder.build(source, artefact, home)
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

function importError(thrown: unknown, record: PluginRecord): GatewayError {
  const position = positionOf(thrown, record.files)
  const where = position === undefined ? record.source : positionText(position)
  const message = messageOf(thrown)
  return new GatewayError("plugin_load_failed", `${where}: importing it failed: ${message}`, {
    cause: thrown,
    details: { errors: position === undefined ? [] : [{ ...position, message }] },
  })
}
