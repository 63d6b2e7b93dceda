import type { Server } from "bun"
import { GatewayError, messageOf, toGatewayError } from "../errors.ts"
import { errorReply } from "./reply.ts"

/** What only the server knows about a request's connection. */
export interface Connections {
  /** The address of a request's peer. */
  peerOf(request: Request): string
  /** Takes the server's own silence limit off a request whose timing is the provider's. */
  keepOpen(request: Request): void
}

export interface Listener {
  readonly url: string
  readonly port: number
  /** Takes no new connection and resolves when the open requests are done. */
  drain(): Promise<void>
  /** Cuts what is still open. */
  close(): Promise<void>
}

/**
 * Whether other processes have the same address: `first` is the one that nobody has so far, `further` one more.
 * Connections are spread over all that have it.
 */
export type Sharing = "none" | "first" | "further"

interface ListenOptions {
  readonly host: string
  readonly port: number
  readonly sharing: Sharing
  readonly app: (connections: Connections) => (request: Request) => Response | Promise<Response>
}

/** @throws GatewayError `bind_refused` */
export function listen({ host, port, sharing, app }: ListenOptions): Listener {
  const fetch = app({
    peerOf: (request) => server.requestIP(request)?.address ?? "",
    keepOpen: (request) => server.timeout(request, 0),
  })
  const server = serve({ host, port, sharing, fetch })
  const shownHost = host.includes(":") ? `[${host}]` : host
  return {
    url: `http://${shownHost}:${server.port}`,
    port: server.port ?? port,
    drain: () => server.stop(false),
    close: () => server.stop(true),
  }
}

interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly sharing: Sharing
  readonly fetch: (request: Request) => Response | Promise<Response>
}

function serve({ host, port, sharing, fetch }: ServeOptions): Server<undefined> {
  try {
    if (sharing === "first") assertUnshared(host, port)
    return Bun.serve({
      hostname: host,
      port,
      reusePort: sharing !== "none",
      fetch,
      // The gateway counts body bytes itself, so that too many get an error body and not a bare 413.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      development: false,
      // What no handler caught: it must not look like another server's error page.
      error: (thrown) => errorReply(toGatewayError(thrown)),
    })
  } catch (cause) {
    throw new GatewayError(
      "bind_refused",
      `cannot listen on ${host}:${port}: ${messageOf(cause)}; is another process using the port?`,
      { cause },
    )
  }
}

/** A listener that shares its address would get one that another gateway has. */
function assertUnshared(hostname: string, port: number): void {
  if (port !== 0) Bun.listen({ hostname, port, socket: { data() {} } }).stop(true)
}
