/** One call into a plugin, as a span would tell of it. */
export interface PluginCall {
  /** `hook onRequest my-plugin` */
  readonly name: string
  readonly plugin: string
  /** The hook's or the ability's name. */
  readonly hook: string
  readonly durationMs: number
  /** What it threw, on purpose or not, or what was wrong with what it returned. */
  readonly error?: unknown
}

/** Told of every call into a plugin when it is over. There is none in a gateway that serves. */
export interface CallRecorder {
  record(call: PluginCall): void
}

export function pluginCall(plugin: string, hook: string, durationMs: number, error?: unknown): PluginCall {
  const name = `hook ${hook} ${plugin}`
  return { name, plugin, hook, durationMs, ...(error !== undefined && { error }) }
}
