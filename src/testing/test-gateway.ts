/** A real gateway in this process, with a directory of its own and a fake upstream as its provider. */
import { mkdtemp, realpath, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import packageJson from "../../package.json" with { type: "json" }
import { loadConfig } from "../config/load.ts"
import { createGateway, type Gateway } from "../gateway.ts"
import type { PluginCall } from "../plugin/call-recorder.ts"
import { createLogger, type RootLogger } from "../telemetry/logger.ts"
import { type StartedUpstream, startFakeUpstream } from "./fake-upstream.ts"
import { PluginShelf } from "./plugin-shelf.ts"
import type { ConfigTree, TestLogLine } from "./test-app.ts"
import { waitFor } from "./wait.ts"

export interface TestGateway {
  readonly gateway: Gateway
  readonly upstream: StartedUpstream
  readonly shelf: PluginShelf
  readonly calls: readonly PluginCall[]
  /** The gateway's whole log. */
  readonly lines: readonly TestLogLine[]
  /** What plugins wrote themselves. */
  readonly pluginLines: readonly TestLogLine[]
  /** The bearer token of the admin API; empty where it needs none. */
  readonly adminToken: string
  /** Resolves when no request and no observer is under way. */
  idle(): Promise<void>
  stop(): Promise<void>
}

interface TestGatewayOptions {
  /** Laid over the config of the test. */
  readonly config: ConfigTree
  /** Put into the plugin directory before the start. */
  readonly definitions: readonly { readonly name: string }[]
  readonly env?: Readonly<Record<string, string>>
  /** A measurement does without the log. */
  readonly logLevel?: "debug" | "silent"
}

export async function startTestGateway(options: TestGatewayOptions): Promise<TestGateway> {
  const { config, definitions, env = {}, logLevel = "debug" } = options
  // macOS has its temporary folder behind a symbolic link.
  const directory = await realpath(await mkdtemp(join(tmpdir(), "leapgate-testing-")))
  const shelf = new PluginShelf(join(directory, "plugins"))
  const upstream = startFakeUpstream()
  const calls: PluginCall[] = []
  const lines: TestLogLine[] = []
  const pluginLines: TestLogLine[] = []
  let gateway: Gateway | undefined
  try {
    for (const definition of definitions) await shelf.put(definition)
    const path = join(directory, "config.yaml")
    await Bun.write(path, JSON.stringify(merged(baseConfig(upstream.url, logLevel), config)))
    const load = (text?: string) =>
      loadConfig({ path, env, cwd: directory, ...(text !== undefined && { text }) })
    const loaded = load()
    const log = splitLogger(logLevel, lines, pluginLines)
    const recorder = { record: (call: PluginCall) => void calls.push(call) }
    const { version } = packageJson
    const configFile = { path: () => path, load }
    const reloadConfig = () => load()
    const started = await createGateway({ loaded, reloadConfig, configFile, env, version, log, recorder })
    gateway = started
    await started.start()
    const { token: adminToken } = loaded.config.admin
    return {
      gateway: started,
      upstream,
      shelf,
      calls,
      lines,
      pluginLines,
      adminToken,
      idle: () => idle(started),
      stop,
    }
  } catch (thrown) {
    await stop()
    throw thrown
  }

  async function stop(): Promise<void> {
    await gateway?.stop({ drainMs: 1000 })
    shelf.clear()
    await upstream.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

async function idle({ plugins }: Gateway): Promise<void> {
  await waitFor("requests and observers to end", () => plugins.current.requests === 0)
}

/** The gateway makes a child of its logger for each plugin, and for nothing else. */
function splitLogger(level: "debug" | "silent", all: TestLogLine[], ofPlugins: TestLogLine[]): RootLogger {
  const own = createLogger({ level, destination: (line) => all.push(JSON.parse(line)) })
  const plugins = createLogger({
    level,
    destination(text) {
      const line: TestLogLine = JSON.parse(text)
      all.push(line)
      ofPlugins.push(line)
    },
  })
  return { ...own, child: plugins.child }
}

function baseConfig(upstreamUrl: string, level: string): ConfigTree {
  return {
    server: { host: "127.0.0.1", port: 0 },
    providers: [{ name: "upstream", base_url: upstreamUrl, models: ["test-model"] }],
    // A test says itself when something is to be loaded again.
    plugins: { hot_reload: false },
    telemetry: { logs: { level } },
  }
}

/** Objects are merged, other values replaced; further providers come after the upstream. */
function merged(base: ConfigTree, over: ConfigTree): ConfigTree {
  const both = Object.entries(over).map(([key, value]) => {
    const old = base[key]
    if (isTree(old) && isTree(value)) return [key, merged(old, value)]
    if (key === "providers" && Array.isArray(old) && Array.isArray(value)) return [key, [...old, ...value]]
    return [key, value]
  })
  return { ...base, ...Object.fromEntries(both) }
}

function isTree(value: unknown): value is ConfigTree {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
