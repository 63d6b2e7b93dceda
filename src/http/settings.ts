import type { Config } from "../config/schema.ts"
import { GatewayError } from "../errors.ts"
import { isLoopbackHost } from "./host-guard.ts"
import { KeyRing } from "./key-ring.ts"
import type { Settings } from "./view.ts"

export function compileSettings({ server, auth, admin, routing, telemetry }: Config): Settings {
  return {
    bodyLimitBytes: server.body_limit,
    keys: new KeyRing(auth.keys),
    isOpen: auth.mode === "open",
    isPrivate: isPrivateAddress(server.host),
    adminToken: admin.token,
    servesMetrics: telemetry.metrics.enabled,
    rules: {
      strategy: routing.strategy,
      failover: routing.failover_enabled ? "enabled" : "disabled",
      maxRetries: routing.max_retries,
    },
  }
}

/**
 * Without keys, and without a plugin that says who callers are, the gateway serves this machine only.
 * @throws GatewayError `bind_refused`
 */
export function refuseOpenBind({ server, auth }: Config, hasAuthPlugin: boolean): void {
  if (auth.keys.length > 0 || hasAuthPlugin || auth.mode === "open" || isPrivateAddress(server.host)) return
  throw new GatewayError(
    "bind_refused",
    `server.host is ${server.host}, which others can reach, but no API key is configured and no auth plugin is active; add a key under auth.keys, set server.host to 127.0.0.1, or set auth.mode: open if everybody may use your provider keys`,
  )
}

function isPrivateAddress(host: string): boolean {
  return isLoopbackHost(host.includes(":") ? `[${host}]` : host)
}
