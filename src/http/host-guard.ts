/**
 * Refuses requests whose Host is not a plain `name[:port]`. Elysia cuts the path out of `request.url`, which
 * is built from that header, so a strange Host would move the path: `Host: a/b` is a way around every rule.
 */
import { GatewayError } from "../errors.ts"

const HOST = /^(?:[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i

/** The Host header, checked. @throws GatewayError `invalid_host` */
export function guardHost(request: Request): string {
  const host = request.headers.get("host")
  if (host === null || !HOST.test(host) || !request.url.startsWith("http")) {
    throw new GatewayError(
      "invalid_host",
      "the Host header must be one host name or address with an optional port",
    )
  }
  return host
}

/** Whether a checked Host names this machine: a page of another origin cannot send such a one. */
export function isLoopbackHost(host: string): boolean {
  return LOOPBACK.test(host)
}

/** Whether a peer's address is of this machine. */
export function isLoopbackAddress(address: string): boolean {
  return /^(?:127\.|::1$|::ffff:127\.)/.test(address)
}
