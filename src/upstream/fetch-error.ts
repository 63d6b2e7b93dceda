import { type ErrorCode, GatewayError } from "../errors.ts"

interface FailedRequest {
  readonly provider: string
  readonly url: string
  readonly signal: AbortSignal
}

/** What `fetch` threw, as an error that says what to look at; the signal's own reason where it aborted. */
export function toUpstreamError(thrown: unknown, { provider, url, signal }: FailedRequest): unknown {
  if (signal.aborted) return signal.reason
  if (thrown instanceof GatewayError) return thrown
  const reason = codeOf(thrown)
  // A mistake of the gateway's, such as an argument that fetch does not take.
  if (reason.startsWith("ERR_INVALID_")) return thrown
  const { host } = new URL(url)
  const [code, what] = explain(reason, host)
  return new GatewayError(code, `provider "${provider}" ${what}`, { cause: thrown })
}

function explain(reason: string, host: string): readonly [ErrorCode, string] {
  if (reason === "ECONNREFUSED") {
    return [
      "upstream_unreachable",
      `refuses connections at ${host}: is it running, and is its base_url right?`,
    ]
  }
  if (reason === "ENOTFOUND" || reason === "EAI_AGAIN") {
    return ["upstream_unreachable", `has a host that DNS does not know: check "${host}" in its base_url`]
  }
  if (reason === "EPROTO") {
    return [
      "upstream_unreachable",
      `failed the TLS handshake at ${host}: should its base_url be http, not https?`,
    ]
  }
  if (/CERT|ISSUER|SIGNATURE/.test(reason)) {
    return ["upstream_unreachable", `has a certificate at ${host} that is not trusted (${reason})`]
  }
  if (/UNREACH|TIMEDOUT|EADDRNOTAVAIL/.test(reason)) {
    return [
      "upstream_unreachable",
      `cannot be reached at ${host} (${reason}): check its base_url and the network`,
    ]
  }
  if (/Malformed|Invalid/.test(reason)) {
    return ["upstream_invalid_reply", `answered at ${host} with something that is not HTTP (${reason})`]
  }
  return [
    "upstream_connection_lost",
    `closed the connection at ${host} before it answered (${reason || "no reason given"})`,
  ]
}

function codeOf(thrown: unknown): string {
  const { code } = (thrown ?? {}) as { readonly code?: unknown }
  return typeof code === "string" ? code : ""
}
