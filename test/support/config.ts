import type { Fault } from "../../src/config/faults.ts"
import { type LoadedConfig, type LoadOptions, loadConfig } from "../../src/config/load.ts"
import { GatewayError } from "../../src/errors.ts"

type Env = LoadOptions["env"]

export function loadText(text: string, env: Env = {}): LoadedConfig {
  return loadConfig({ path: "config.yaml", text, env, cwd: import.meta.dir })
}

export function refusalOf(text: string, env: Env = {}): GatewayError {
  try {
    loadText(text, env)
  } catch (thrown) {
    if (thrown instanceof GatewayError && thrown.code === "config_invalid") return thrown
    throw thrown
  }
  throw new Error("the config was accepted")
}

export function faultsIn(text: string, env: Env = {}): readonly Fault[] {
  return (refusalOf(text, env).details as { readonly faults: readonly Fault[] }).faults
}

/** The faults as the user reads them. */
export function faultLines(text: string, env: Env = {}): readonly string[] {
  return refusalOf(text, env)
    .message.split("\n")
    .slice(1)
    .map((line) => line.trim())
}
