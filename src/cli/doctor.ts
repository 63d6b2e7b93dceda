/** Looks for what may be wrong with this machine and this config: one line each. */
import { loadConfig } from "../config/load.ts"
import { GatewayError, messageOf } from "../errors.ts"
import { access, plugins, providers } from "./doctor-gateway.ts"
import { bunVersion, fileLimit, ports, upstreamLimit } from "./doctor-machine.ts"
import { bad, doubtful, type Finding, good, showFindings } from "./finding.ts"
import type { ConfigOption } from "./program.ts"
import type { Terminal } from "./terminal.ts"

export async function examine({ config: path }: ConfigOption, { out, env, cwd }: Terminal): Promise<number> {
  const findings = [bunVersion(), upstreamLimit(env), fileLimit(), ...(await gatewayFindings())]
  return showFindings(findings, out)

  async function gatewayFindings(): Promise<readonly Finding[]> {
    const loaded = loadedOrFinding()
    if ("state" in loaded) return [loaded]
    const { config } = loaded
    const doubts = [...loaded.warnings, ...loaded.skippedProviders.map(({ reason }) => reason)]
    const groups = await Promise.all([
      good(`config: ${loaded.path ?? "the built-in one"} is valid`),
      doubts.map((text) => doubtful(`config: ${text}`)),
      access(loaded),
      ports(config),
      plugins(loaded),
      providers(config, env),
    ])
    return groups.flat()
  }

  function loadedOrFinding() {
    try {
      return loadConfig({ path, env, cwd })
    } catch (thrown) {
      if (!(thrown instanceof GatewayError)) throw thrown
      return bad(`config: ${messageOf(thrown)}`)
    }
  }
}
