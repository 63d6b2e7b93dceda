import { GatewayError } from "../errors.ts"

interface LateCall {
  readonly plugin: string
  /** The hook or ability that was called. */
  readonly what: string
  readonly limitMs: number
}

/** A call into a plugin went on for longer than its deadline. */
export function callTimeout({ plugin, what, limitMs }: LateCall): GatewayError {
  return new GatewayError(
    "plugin_timeout",
    `plugin "${plugin}" did not finish ${what} within ${limitMs} ms; look for a promise that never settles, or raise plugins.configs.${plugin}.timeout`,
  )
}

export function isCallTimeout(thrown: unknown): thrown is GatewayError {
  return thrown instanceof GatewayError && thrown.code === "plugin_timeout"
}
