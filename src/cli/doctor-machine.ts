/** The machine: Bun, its limits, and the port. */
import packageJson from "../../package.json" with { type: "json" }
import type { Config } from "../config/schema.ts"
import { messageOf } from "../errors.ts"
import { bad, doubtful, type Finding, good } from "./finding.ts"
import type { Terminal } from "./terminal.ts"

export function bunVersion(): Finding {
  const wanted = packageJson.engines.bun
  return Bun.semver.satisfies(Bun.version, wanted)
    ? good(`Bun ${Bun.version}`)
    : bad(`Bun ${Bun.version} is too old: LeapGate needs ${wanted}`)
}

const LOW_UPSTREAM_LIMIT = 1024
const MAX_UPSTREAM_LIMIT = 65_535

export function upstreamLimit(env: Terminal["env"]): Finding {
  const name = "BUN_CONFIG_MAX_HTTP_REQUESTS"
  const text = env[name]
  if (!text) return good(`${name} is not set: \`leapgate serve\` sets it to ${MAX_UPSTREAM_LIMIT}`)
  const limit = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(limit >= 1 && limit <= MAX_UPSTREAM_LIMIT)) {
    return bad(
      `${name}=${text} is ignored by Bun, which then takes 256: give a number from 1 to ${MAX_UPSTREAM_LIMIT}`,
    )
  }
  const sentence = `${name}=${text}: that many requests to providers may be open at a time`
  return limit < LOW_UPSTREAM_LIMIT ? doubtful(sentence) : good(sentence)
}

/** Each request holds two: the client's connection and the provider's. */
const LOW_FILE_LIMIT = 8192

export function fileLimit(): Finding {
  const text = fileLimitText()
  if (text === undefined)
    return doubtful("how many files may be open at a time is not known: there is no `sh`")
  const sentence = `${text} files and connections may be open at a time`
  if (text === "unlimited" || Number(text) >= LOW_FILE_LIMIT) return good(sentence)
  return doubtful(`${sentence}: a request needs two; raise it with \`ulimit -n\` or LimitNOFILE`)
}

/** Bun raises its own limit as far as it may, and what it starts inherits that: the serving process too. */
function fileLimitText(): string | undefined {
  try {
    return Bun.spawnSync(["sh", "-c", "ulimit -n"]).stdout.toString().trim()
  } catch {
    return undefined
  }
}

/** The main address, and the admin API's own one. */
export function ports({ server, admin }: Config): Promise<readonly Finding[]> {
  const colon = admin.listen.lastIndexOf(":")
  const own = { host: admin.listen.slice(0, colon), port: Number(admin.listen.slice(colon + 1)) }
  return Promise.all((admin.listen === "" ? [server] : [server, own]).map(portState))
}

interface Address {
  readonly host: string
  readonly port: number
}

async function portState({ host, port }: Address): Promise<Finding> {
  if (port === 0) return good("port: a free one is picked at the start")
  try {
    Bun.listen({ hostname: host, port, socket: { data() {} } }).stop(true)
    return good(`port: ${host}:${port} is free`)
  } catch (thrown) {
    const version = await runningVersion(host, port)
    if (version !== undefined) return doubtful(`port: LeapGate ${version} serves on ${host}:${port} already`)
    return bad(`port: ${host}:${port} cannot be used: ${messageOf(thrown)}`)
  }
}

async function runningVersion(host: string, port: number): Promise<string | undefined> {
  const reachable = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host
  try {
    const url = `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}/health`
    const reply = await fetch(url, { signal: AbortSignal.timeout(500) })
    const { version } = (await reply.json()) as { readonly version?: unknown }
    return typeof version === "string" ? version : undefined
  } catch {
    // Whatever listens there, it is no LeapGate.
    return undefined
  }
}
