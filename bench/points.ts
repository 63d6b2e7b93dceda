/**
 * What a call into a plugin costs, part by part. The candidates take turns, so that a busy machine slows all of them;
 * the median of the rounds is shown.
 *
 *   bun bench/points.ts
 */
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { systemClock as clock } from "../src/clock.ts"
import type { PluginDefinition, RequestEvent } from "../src/plugin/contract.ts"
import type { HookPoint } from "../src/plugin/hook-bindings.ts"
import { registerHostModules } from "../src/plugin/host-modules.ts"
import { createModuleHost } from "../src/plugin/module-host.ts"
import { CallContext, PointBook } from "../src/plugin/point.ts"
import { PluginRegistry } from "../src/plugin/registry.ts"
import { Watchdog } from "../src/plugin/watchdog.ts"
import { INSIDE } from "../src/plugin/watchdog-board.ts"
import { createMemoryStore } from "../src/state/store.ts"
import { createLogger } from "../src/telemetry/logger.ts"
import { MetricStore } from "../src/telemetry/store.ts"

const ROUNDS = 31
const CALLS = 20_000
const WORKER_CALLS = 200
const SOURCE = resolve(import.meta.dir, "../src")

const event = { model: "m", request: { model: "m", messages: [{ role: "user", content: "x".repeat(1000) }] } }
const anEvent = event as unknown as RequestEvent
const hook = () => undefined
const log = createLogger({ level: "silent" })
const metrics = new MetricStore()
const moduleHost = createModuleHost()
registerHostModules()

const graph = moduleHost.adopt(undefined, { onError() {} })
const board = new Int32Array(new SharedArrayBuffer(64))
const watched = watchdog(250)
const off = await pointOf(definition(hook), watchdog(0))
const on = await pointOf(definition(hook), watched)
const later = await pointOf(
  definition(async () => undefined),
  watched,
)
const tripped = await pointOf(
  definition(() => {
    throw new Error("no luck")
  }),
  watched,
)
for (let call = 0; call < 20; call++) tripped.call(anEvent, new CallContext())
const remote = await pointOf("bench-worker", watched)

const nothing = () => hook()
await compare(CALLS, {
  "the function alone": nothing,
  "in its module graph": () => graph.run(hook),
  "in its module graph, with the watchdog's two stores": () => {
    board[INSIDE] = 3
    graph.run(hook)
    board[INSIDE] = 0
  },
  "point, watchdog off": () => off.call(anEvent, new CallContext()),
  "point, watchdog on": () => on.call(anEvent, new CallContext()),
  "point of an asynchronous hook": () => later.call(anEvent, new CallContext()),
  "point of a plugin that is switched off": () => tripped.call(anEvent, new CallContext()),
})
await compare(WORKER_CALLS, { "point in a worker, 1 KB": () => remote.call(anEvent, new CallContext()) })
process.exit(0)

async function compare(calls: number, candidates: Readonly<Record<string, () => unknown>>): Promise<void> {
  const samples = new Map(Object.keys(candidates).map((name) => [name, [] as number[]]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, run] of Object.entries(candidates)) {
      const startMs = performance.now()
      for (let call = 0; call < calls; call++) {
        const result = run()
        if (result instanceof Promise) await result
      }
      samples.get(name)?.push(((performance.now() - startMs) * 1e6) / calls)
    }
  }
  for (const [name, sample] of samples) {
    const median = sample.toSorted((a, b) => a - b)[Math.floor(sample.length / 2)] ?? 0
    console.log(`${name.padEnd(56)} ${Math.round(median).toString().padStart(8)} ns`)
  }
}

function watchdog(limitMs: number): Watchdog {
  const startThread = () => new Worker(join(SOURCE, "plugin/watchdog-thread.ts"))
  return new Watchdog({ clock, log, metrics, limitMs, startThread })
}

function definition(onRequest: () => unknown): PluginDefinition {
  const setup = () => ({ hooks: { onRequest } })
  return { name: "bench", version: "1.0.0", type: "monitoring", setup } as PluginDefinition
}

/** A definition is set up here; a name stands for the plugin of this file, in a worker. */
async function pointOf(plugin: PluginDefinition | string, watch: Watchdog): Promise<HookPoint<"onRequest">> {
  const isRemote = typeof plugin === "string"
  const directory = join(tmpdir(), `leapgate-bench-${Bun.randomUUIDv7()}`)
  const isolation = isRemote ? "worker" : "inline"
  if (isRemote) {
    await Bun.write(
      join(directory, "bench.ts"),
      `import { definePlugin } from "leapgate/plugin"
       export default definePlugin({ name: "${plugin}", version: "1.0.0", type: "monitoring", setup: () => ({ hooks: { onRequest() {} } }) })`,
    )
  }
  const registry = new PluginRegistry({
    log,
    clock,
    metrics,
    state: createMemoryStore({ clock }),
    points: new PointBook({ clock, log, metrics, watchdog: watch, withdraw() {} }),
    moduleHost,
    directory,
    bundled: isRemote ? [] : [{ definition: plugin, file: "bench" }],
    probation: () => undefined,
    random: Math.random,
    packages: () => [],
    isLocked: false,
    maxPlugins: 1,
    maxConcurrent: 1,
    setupTimeoutMs: 10_000,
    drainTimeoutMs: 10_000,
    spawnWorker: () => new Worker(join(SOURCE, "plugin-worker.ts")),
    entry: () => ({ enabled: true, config: {}, dependencies: [], timeoutMs: 5000, isolation }),
    onSwap() {},
    onEvent() {},
    onTakenBack() {},
    emitMetric() {},
    emitCacheEvent() {},
  })
  await registry.loadAll()
  const [point] = registry.current.hooks.onRequest
  if (point === undefined) throw new Error(JSON.stringify(registry.list()))
  return point
}
