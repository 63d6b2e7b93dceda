import { connect } from "node:net"
import type { Clock } from "../clock.ts"
import { GatewayError } from "../errors.ts"

export interface ConnectDeadline {
  /** Aborts with the caller's signal, or with `upstream_timeout` when no connection was made in time. */
  readonly signal: AbortSignal
  stop(): void
}

interface ConnectTarget {
  readonly provider: string
  readonly url: string
  readonly signal: AbortSignal
  readonly connectTimeoutMs: number
}

/**
 * `fetch` does not tell when it is connected, and the headers of a plain reply come only after the model has
 * written it. So a connection beside it shows whether the host accepts any; it is closed as soon as it stands.
 */
export function startConnectDeadline(target: ConnectTarget, clock: Clock): ConnectDeadline {
  const { provider, signal, connectTimeoutMs } = target
  const { hostname, host, port, protocol } = new URL(target.url)
  const controller = new AbortController()
  // Never removed: the caller may also abort while the body of the reply is read.
  signal.addEventListener("abort", abort, { once: true })
  if (signal.aborted) abort()

  const cancelTimer = clock.after(connectTimeoutMs, () => {
    const message = `provider "${provider}" did not accept a connection at ${host} within ${connectTimeoutMs} ms (timeout.connect)`
    controller.abort(new GatewayError("upstream_timeout", message))
  })
  const probe = connect({
    host: hostname.replace(/^\[|\]$/g, ""),
    port: Number(port) || (protocol === "https:" ? 443 : 80),
  })
  probe.on("connect", stop)
  // Whatever is wrong, `fetch` meets it too and says so.
  probe.on("error", stop)
  return { signal: controller.signal, stop }

  function stop(): void {
    cancelTimer()
    probe.destroy()
  }

  function abort(): void {
    controller.abort(signal.reason)
  }
}
