import type { Config } from "../config/schema.ts"
import { createApp, type Surface } from "./app.ts"
import type { HttpDeps } from "./deps.ts"
import { type Connections, type Listener, listen, type Sharing } from "./server.ts"

interface ListenersOptions {
  readonly sharing: Sharing
  readonly deps: Omit<HttpDeps, keyof Connections>
}

/**
 * One for everything, or one for clients and then one for the admin, where that has an address of its own.
 * @throws GatewayError `bind_refused`
 */
export function openListeners(
  { server, admin }: Config,
  { sharing, deps }: ListenersOptions,
): readonly Listener[] {
  if (admin.listen === "") return [open("both", server.host, server.port)]
  const separator = admin.listen.lastIndexOf(":")
  const host = admin.listen.slice(0, separator)
  const main = open("client", server.host, server.port)
  return [main, open("admin", host.replace(/^\[|\]$/g, ""), Number(admin.listen.slice(separator + 1)))]

  function open(surface: Surface, hostname: string, port: number): Listener {
    return listen({
      host: hostname,
      port,
      sharing,
      app: (connections) => createApp(surface, { ...deps, ...connections }).fetch,
    })
  }
}
