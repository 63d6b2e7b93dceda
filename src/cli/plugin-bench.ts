/** What one plugin costs: its calls one by one, and the gateway's requests with it and without it. */
import { type LoadedConfig, loadConfig } from "../config/load.ts"
import type { PluginCall } from "../plugin/call-recorder.ts"
import type { Abilities, PluginDefinition, ProviderAbilities } from "../plugin/contract.ts"
import { pluginDirectory, pluginSettings } from "../plugin-settings.ts"
import type { ConfigTree } from "../testing/test-app.ts"
import { startTestGateway, type TestGateway } from "../testing/test-gateway.ts"
import { ANSWER, type Load, type Measurement, measure, PLAIN, STREAMED } from "./bench-load.ts"
import { readDefinition } from "./plugin-definition.ts"
import { homeOf, pluginTarget } from "./plugin-target.ts"
import type { ConfigOption } from "./program.ts"
import { table } from "./table.ts"
import type { Terminal } from "./terminal.ts"

interface BenchOptions extends ConfigOption {
  readonly rounds: number
}

/** The same traffic, once without the plugin and once with it. */
interface Round {
  readonly without: Measurement
  readonly withPlugin: Measurement
}

export async function benchPlugin(
  target: string,
  { config: path, rounds: count }: BenchOptions,
  { out, env, cwd }: Terminal,
): Promise<number> {
  const loaded = loadConfig({ path, env, cwd })
  const plugin = await pluginTarget(target, loaded, cwd)
  const { file } = plugin
  const { definition } = await readDefinition(file, homeOf(plugin, pluginDirectory(loaded)))
  await using stack = new AsyncDisposableStack()
  const without = await start({})
  const withPlugin = await start(configFor(definition.name, loaded))
  await withPlugin.gateway.plugins.register(file)
  const abilities = withPlugin.gateway.plugins.get(definition.name)?.abilities
  const load = loadFor(definition, abilities)

  // What runs first is slow, whatever it is.
  await round(0)
  const warmUp = withPlugin.calls.length
  const rounds: Round[] = []
  for (let index = 0; index < count; index++) rounds.push(await round(index))
  const calls = withPlugin.calls.slice(warmUp).filter(({ plugin }) => plugin === definition.name)
  out(callTable(calls))
  for (const sentence of [...idleSentence(abilities, calls), ...comparison(rounds)]) out(sentence)
  out(METHOD)
  return 0

  async function start(config: ConfigTree): Promise<TestGateway> {
    const started = await startTestGateway({ config, definitions: [], env: {}, logLevel: "silent" })
    stack.defer(() => started.stop())
    started.upstream.stream(ANSWER)
    return started
  }

  /** Which of the two goes first changes from round to round. */
  async function round(index: number): Promise<Round> {
    if (index % 2 === 0) {
      const first = await measure(without.gateway.url, PLAIN_LOAD)
      return { without: first, withPlugin: await measured() }
    }
    const first = await measured()
    return { withPlugin: first, without: await measure(without.gateway.url, PLAIN_LOAD) }
  }

  async function measured(): Promise<Measurement> {
    const measurement = await measure(withPlugin.gateway.url, load)
    await withPlugin.idle()
    return measurement
  }
}

const PLAIN_LOAD: Load = { model: "test-model", headers: {} }

/** The plugin's settings as they are in the config, in a gateway that is otherwise empty. */
function configFor(name: string, { config }: LoadedConfig): ConfigTree {
  const settings = pluginSettings(config, name)
  if (settings === undefined) return {}
  const { priority, config: own, onError } = settings
  const entry = {
    config: own,
    ...(priority !== undefined && { priority }),
    ...(onError && { on_error: onError }),
  }
  return { plugins: { configs: { [name]: entry } } }
}

/** A provider is called when its own model is; an auth plugin when somebody has a credential. */
function loadFor({ name, type }: PluginDefinition, abilities: Abilities | undefined): Load {
  if (type === "auth") return { ...PLAIN_LOAD, headers: { authorization: "Bearer leapgate-bench" } }
  if (type !== "provider") return PLAIN_LOAD
  const [model] = (abilities as ProviderAbilities).models
  const id = typeof model === "object" ? model.id : model
  return { ...PLAIN_LOAD, model: `${name}/${id}` }
}

function callTable(calls: readonly PluginCall[]): string {
  const byHook = Map.groupBy(calls, ({ hook }) => hook)
  const rows = [...byHook].map(([hook, own]) => {
    const sorted = own.map(({ durationMs }) => durationMs * 1000).sort((a, b) => a - b)
    const errors = own.filter(({ error }) => error !== undefined).length
    return [hook, String(own.length), at(sorted, 0.5).toFixed(1), at(sorted, 0.99).toFixed(1), String(errors)]
  })
  return table(["CALL", "TIMES", "P50 µs", "P99 µs", "THREW"], rows)
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

/** What this traffic did not reach, so that nobody takes it for free. */
function idleSentence(abilities: Abilities | undefined, calls: readonly PluginCall[]): readonly string[] {
  const called = new Set(calls.map(({ hook }) => hook.split(".").at(-1)))
  const { hooks = {}, ...own } = abilities ?? {}
  const functions = [...Object.entries(own), ...Object.entries(hooks)]
    .filter(([name, value]) => typeof value === "function" && name !== "shutdown")
    .map(([name]) => name)
  const idle = functions.filter((name) => !called.has(name))
  return idle.length === 0 ? [] : [`not called by this traffic: ${idle.join(", ")}`]
}

function comparison(rounds: readonly Round[]): readonly string[] {
  const ratios = rounds
    .map(({ without, withPlugin }) => withPlugin.requestsPerSecond / without.requestsPerSecond)
    .sort((a, b) => a - b)
  const [low, middle, high] = [0, 0.5, 1].map((share) => at(ratios, share).toFixed(2))
  const failed = rounds.reduce((sum, { withPlugin }) => sum + withPlugin.failed, 0)
  const total = rounds.length * (PLAIN + STREAMED)
  return [
    `requests per second: ${middle} times those without the plugin (median of ${rounds.length} rounds, ${low} to ${high})`,
    ...(failed === 0
      ? []
      : [`${failed} of ${total} replies were refusals or failures: the ratio compares those, too`]),
  ]
}

const METHOD = `
How this was measured: clients, a provider and two gateways, one without the plugin, share this process. They take
turns, with ${PLAIN} plain and ${STREAMED} streamed requests a round. The time of a call runs until its result is there, waiting
included. Clients and provider use the processor too, so the plugin takes more of the gateway itself than the ratio
shows; on a busy machine small differences and a p99 mean nothing. Memory is not measured.`
