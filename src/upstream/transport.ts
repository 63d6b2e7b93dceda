import type { Clock } from "../clock.ts"
import { GatewayError } from "../errors.ts"
import { startConnectDeadline } from "./connect-deadline.ts"
import { toUpstreamError } from "./fetch-error.ts"

export interface UpstreamRequest {
  /** Whom the errors name. */
  readonly provider: string
  readonly url: string
  readonly method: "GET" | "POST"
  /** All that is sent, but for host, content-length, connection and accept-encoding. */
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array<ArrayBuffer>
  readonly signal: AbortSignal
  readonly connectTimeoutMs: number
}

export interface Transport {
  /**
   * Resolves when the headers of a reply are here, whatever its status, redirects excepted: following one would
   * take the key and the prompt to an origin that nobody configured.
   * @throws GatewayError `upstream_unreachable`, `upstream_connection_lost`, `upstream_invalid_reply`, or
   * `upstream_timeout` where no connection could be made in time; the signal's reason when it aborts
   */
  send(request: UpstreamRequest): Promise<Response>
  /** Closes the idle connections. */
  close(): void
}

export interface TransportOptions {
  readonly clock: Clock
  /** The environment of the process, in which `fetch` finds its proxy. */
  readonly env: Readonly<Record<string, string | undefined>>
}

export function createTransport({ clock, env }: TransportOptions): Transport {
  const session = new Bun.FetchSession({ keepAlive: { idleTimeout: IDLE_SECONDS } })
  // The session makes a new function each time it is asked for this one.
  const sessionFetch = session.fetch
  /** URLs whose last try was answered: only the others are worth the cost of a connect deadline. */
  const answering = new Set<string>()
  // Behind a proxy a connection of our own would go to the wrong place.
  const canProbe = PROXY_VARIABLES.every((name) => !env[name] && !env[name.toLowerCase()])

  return { send, close: () => session.close() }

  function send(request: UpstreamRequest): Promise<Response> {
    return canProbe && !answering.has(request.url) ? sendCold(request) : sendOn(request, request.signal)
  }

  async function sendCold(request: UpstreamRequest): Promise<Response> {
    const deadline = startConnectDeadline(request, clock)
    try {
      return await sendOn(request, deadline.signal)
    } finally {
      deadline.stop()
    }
  }

  async function sendOn(request: UpstreamRequest, signal: AbortSignal): Promise<Response> {
    const { url, method, headers, body = null } = request
    const init = { method, headers, body, signal, redirect: "manual", ...NO_OWN_TIMEOUT } as const
    const response = await sessionFetch(url, init).catch((thrown: unknown) => {
      answering.delete(url)
      throw toUpstreamError(thrown, request)
    })
    answering.add(url)
    if (response.status >= 300 && response.status < 400) throw await redirected(request, response)
    return response
  }
}

/** Below the idle limits of common load balancers, so that it is seldom them who close a connection first. */
const IDLE_SECONDS = 50

const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]

/** `fetch` would give up after six silent minutes, which is not its business here. bun-types does not know the option. */
const NO_OWN_TIMEOUT = { timeout: false }

async function redirected({ provider }: UpstreamRequest, response: Response): Promise<GatewayError> {
  await response.body?.cancel()
  const location = response.headers.get("location") ?? ""
  const target = URL.canParse(location) ? ` to ${new URL(location).origin}` : ""
  return new GatewayError(
    "upstream_invalid_reply",
    `provider "${provider}" redirects${target} (status ${response.status}); set base_url to where its API is`,
  )
}
