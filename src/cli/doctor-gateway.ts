/** What the config asks for: who may call, which plugins load, which providers can be reached. */
import { readdirSync } from "node:fs"
import { resolve } from "node:path"
import { discoverProviders } from "../config/discover.ts"
import type { LoadedConfig } from "../config/load.ts"
import type { Config, ProviderConfig } from "../config/schema.ts"
import { messageOf } from "../errors.ts"
import { isLoopbackAddress } from "../http/host-guard.ts"
import { refuseOpenBind } from "../http/settings.ts"
import { listPlugins } from "../plugin-reader.ts"
import { bad, doubtful, type Finding, good } from "./finding.ts"
import type { Terminal } from "./terminal.ts"

export async function access(loaded: LoadedConfig): Promise<Finding> {
  const { config } = loaded
  const { server, auth } = config
  const authPlugins = await authPluginsOf(loaded)
  try {
    refuseOpenBind(config, authPlugins.length > 0)
  } catch (thrown) {
    return bad(`access: ${messageOf(thrown)}`)
  }
  const isLocal = server.host === "localhost" || isLoopbackAddress(server.host)
  if (auth.mode === "open" && !isLocal) {
    return doubtful(`access: auth.mode is open: whoever reaches ${server.host} is served without a key`)
  }
  const isUnguarded = auth.keys.length === 0 && authPlugins.length === 0
  if (auth.mode === "open" || isUnguarded) return good("access: callers on this machine, without a key")
  const whose = [
    ...(auth.keys.length > 0 ? [`has one of ${auth.keys.length} keys`] : []),
    ...(authPlugins.length > 0 ? [`plugin ${authPlugins.join(" or ")} knows`] : []),
  ]
  return good(`access: whoever ${whose.join(", or ")}, from ${isLocal ? "this machine" : "anywhere"}`)
}

/** The auth plugins that would be active; what is wrong with plugins is told elsewhere. */
async function authPluginsOf(loaded: LoadedConfig): Promise<readonly string[]> {
  if (!loaded.config.plugins.enabled) return []
  const listed = await listPlugins(loaded).catch(() => [])
  return listed
    .filter(({ type, enabled, error }) => type === "auth" && enabled && error === undefined)
    .map(({ name }) => name)
}

export async function plugins(loaded: LoadedConfig): Promise<readonly Finding[]> {
  const { enabled, directory } = loaded.config.plugins
  if (!enabled) return [doubtful("plugins: switched off (plugins.enabled: false)")]
  const found = pluginDirectory(resolve(loaded.directory, directory))
  return found.state === "bad" ? [found] : [found, ...(await loading(loaded))]
}

function pluginDirectory(path: string): Finding {
  try {
    return good(`plugins: ${path} holds ${readdirSync(path).length} entries`)
  } catch (thrown) {
    const isMissing = (thrown as NodeJS.ErrnoException).code === "ENOENT"
    return isMissing
      ? doubtful(`plugins: ${path} does not exist; only the bundled ones are there`)
      : bad(`plugins: ${path} cannot be read: ${messageOf(thrown)}`)
  }
}

async function loading(loaded: LoadedConfig): Promise<readonly Finding[]> {
  try {
    return (await listPlugins(loaded)).map(({ name, version, error }) =>
      error === undefined ? good(`plugin ${name}: ${version} loads`) : bad(`plugin ${name}: ${error}`),
    )
  } catch (thrown) {
    return [bad(`plugins: ${messageOf(thrown)}`)]
  }
}

export async function providers(config: Config, env: Terminal["env"]): Promise<readonly Finding[]> {
  const known = config.providers.length > 0 ? config.providers : discoverProviders(env)
  if (known.length === 0) return [doubtful("providers: none configured, and no key of a known one is set")]
  return Promise.all(known.map(reachability))
}

const CONNECT_DEADLINE_MS = 2000

async function reachability({ name, base_url }: ProviderConfig): Promise<Finding> {
  const { hostname, port, protocol } = new URL(base_url)
  const address = { hostname, port: Number(port) || (protocol === "https:" ? 443 : 80) }
  const shown = `${address.hostname}:${address.port}`
  try {
    await connect(address)
    return good(`provider ${name}: ${shown} accepts connections`)
  } catch (thrown) {
    return bad(`provider ${name}: ${shown} cannot be reached: ${messageOf(thrown)}`)
  }
}

async function connect(address: { readonly hostname: string; readonly port: number }): Promise<void> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => late.reject(new Error(`no answer in ${CONNECT_DEADLINE_MS / 1000} s`)),
    CONNECT_DEADLINE_MS,
  )
  const connection = Bun.connect({ ...address, socket: { data() {} } })
  connection.then(
    (socket) => socket.end(),
    () => {},
  )
  try {
    await Promise.race([connection, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
