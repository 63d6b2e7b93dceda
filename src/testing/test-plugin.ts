import type { TObject } from "@sinclair/typebox"
import { GatewayError } from "../errors.ts"
import type { Abilities, PluginDefinition, PluginType } from "../plugin/contract.ts"
import { checkDefinition } from "../plugin/validate.ts"
import { postChat } from "./chat.ts"
import type { AnyPlugin, ConfigTree, TestApp, TestPluginOptions } from "./test-app.ts"
import { startTestGateway, type TestGateway } from "./test-gateway.ts"
import { waitFor } from "./wait.ts"

/**
 * Runs a plugin in a real gateway in this process, on a free port, before a fake provider.
 * @throws GatewayError why the plugin, or another one of `plugins`, cannot be loaded
 * @example
 * await using app = await testPlugin(plugin, { config: { limit: 1 } })
 * app.upstream.reply("hi")
 * expect((await app.chat("hello")).text).toBe("hi")
 */
export async function testPlugin<T extends PluginType, S extends TObject>(
  definition: PluginDefinition<T, S>,
  options: TestPluginOptions = {},
): Promise<TestApp<T>> {
  const { config = {}, plugins = [], gateway = {}, upstream, env = {} } = options
  const definitions: readonly AnyPlugin[] = [...plugins, definition]
  for (const one of definitions) checkDefinition(one, "the test")
  const running = await startTestGateway({
    config: withPlugin(gateway, definition.name, config),
    definitions,
    env,
  })
  if (upstream !== undefined) running.upstream.reply(upstream)
  try {
    for (const { name } of definitions) assertActive(running, name)
  } catch (thrown) {
    await running.stop()
    throw thrown
  }
  return testApp<T>(definition.name, running)
}

function testApp<T extends PluginType>(name: string, running: TestGateway): TestApp<T> {
  const { gateway, upstream, shelf, calls, lines, pluginLines, adminToken, stop } = running
  const { url, plugins } = gateway
  return {
    url,
    upstream,
    fetch: (path, init) => fetch(new URL(path, url), init),
    chat: (prompt, options) => postChat(url, prompt, options),
    get abilities() {
      return instanceOf(running, name).abilities as Abilities<T>
    },
    get calls() {
      return calls.filter(({ plugin }) => plugin === name)
    },
    get logs() {
      return pluginLines.filter(({ plugin }) => plugin === name)
    },
    allLogs: lines,
    metrics: () => readMetrics(gateway.adminUrl, adminToken),
    async reload(definition) {
      checkDefinition(definition, "the test")
      await shelf.put(definition)
      await plugins.sync()
      assertActive(running, definition.name)
    },
    idle: running.idle,
    waitFor: (probe) => waitFor("the condition of the test", probe),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** The plugin is switched on, whatever else the test says of it. */
function withPlugin(gateway: ConfigTree, name: string, config: ConfigTree): ConfigTree {
  const plugins = treeAt(gateway, "plugins")
  const configs = treeAt(plugins, "configs")
  const entry = treeAt(configs, name)
  const own = { ...entry, config: { ...treeAt(entry, "config"), ...config } }
  return { ...gateway, plugins: { ...plugins, configs: { ...configs, [name]: own } } }
}

function treeAt(tree: ConfigTree, key: string): ConfigTree {
  const value = tree[key]
  return typeof value === "object" && value !== null ? (value as ConfigTree) : {}
}

function assertActive(running: TestGateway, name: string): void {
  const info = running.gateway.plugins.getInfo(name)
  if (info.error !== null) {
    const { code, message, details } = info.error
    throw new GatewayError(isLoadError(code) ? code : "plugin_load_failed", message, { details })
  }
  instanceOf(running, name)
}

const LOAD_ERRORS = [
  "plugin_conflict",
  "plugin_invalid",
  "plugin_config_invalid",
  "plugin_load_failed",
  "plugin_setup_failed",
  "plugin_dependency_failed",
  "plugin_unsupported",
] as const

function isLoadError(code: string): code is (typeof LOAD_ERRORS)[number] {
  return (LOAD_ERRORS as readonly string[]).includes(code)
}

function instanceOf({ gateway }: TestGateway, name: string) {
  const instance = gateway.plugins.get(name)
  if (instance !== undefined) return instance
  throw new GatewayError(
    "plugin_not_found",
    `plugin "${name}" does not serve; its config has it switched off`,
  )
}

async function readMetrics(adminUrl: string, token: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(new URL("/metrics", adminUrl), {
    headers: { authorization: `Bearer ${token}` },
  })
  if (!response.ok) throw new Error(`/metrics answered ${response.status}: ${await response.text()}`)
  const samples = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"))
  return new Map(
    samples.map((line) => {
      const [, series = "", value] = /^(\S+?(?:\{.*\})?) (\S+)/.exec(line) ?? []
      return [series, Number(value)] as const
    }),
  )
}
