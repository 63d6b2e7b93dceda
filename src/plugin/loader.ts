/** Reads a plugin's code: builds it, imports it into a module registry of its own, checks its definition. */
import { GatewayError, messageOf } from "../errors.ts"
import type { PluginBuilder } from "./build.ts"
import type { Conduct } from "./conduct.ts"
import { type Candidate, manifestOf, type PluginRecord } from "./record.ts"
import type { PluginServices } from "./setup-context.ts"
import { positionOf, positionText } from "./source-position.ts"
import { checkDefinition } from "./validate.ts"

interface LoadOptions {
  readonly builder: PluginBuilder
  readonly services: PluginServices
  /** Gives up; its reason is thrown. */
  readonly signal: AbortSignal
  readonly conduct: Conduct
  /** Told what the plugin's code throws when nobody waits for it. */
  onLateError(thrown: unknown): void
}

/**
 * Reads the code of a record as it is now. What was read is in `record.print`, even where it is no good.
 * @throws GatewayError `plugin_load_failed`, `plugin_invalid`, or the signal's reason
 */
export async function loadPlugin(record: PluginRecord, options: LoadOptions): Promise<Candidate> {
  const { module, artefact } = await openModule(record, options)
  const { conduct, onLateError } = options
  try {
    const definition = checkDefinition(module.exports, record.source)
    return { definition, module, artefact, manifest: manifestOf(definition), conduct, onLateError }
  } catch (thrown) {
    module.dispose()
    throw thrown
  }
}

async function openModule(
  record: PluginRecord,
  { builder, services, signal, onLateError: onError }: LoadOptions,
): Promise<Pick<Candidate, "module" | "artefact">> {
  if (record.definition !== undefined) {
    return { module: services.moduleHost.adopt(record.definition, { onError }), artefact: undefined }
  }
  const { artefact, ...print } = await builder.build(record.source, record.artefact).catch((thrown) => {
    // Which files it would be made of is not known, so every look at the directory tries it again.
    record.print = undefined
    throw thrown
  })
  signal.throwIfAborted()
  record.print = print
  const limit = importLimit(record, services, signal)
  try {
    return { module: await services.moduleHost.import(artefact, { onError, signal: limit.signal }), artefact }
  } catch (thrown) {
    throw limit.signal.aborted ? thrown : importError(thrown, record)
  } finally {
    limit.lift()
  }
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
