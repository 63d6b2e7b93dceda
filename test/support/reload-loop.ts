/**
 * Reloads one plugin of 50 KB again and again, in a process of its own, so that nobody else's memory counts. Each version
 * opens a timer and a server. Prints what is left of them, and how the memory grew.
 *
 * bun reload-loop.ts <reloads> <"probation" or "none">
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { systemClock } from "../../src/clock.ts"
import { registerHostModules } from "../../src/plugin/host-modules.ts"
import { createModuleHost } from "../../src/plugin/module-host.ts"
import { PointBook } from "../../src/plugin/point.ts"
import { PluginRegistry } from "../../src/plugin/registry.ts"
import { createMemoryStore } from "../../src/state/store.ts"
import { createLogger } from "../../src/telemetry/logger.ts"
import { MetricStore } from "../../src/telemetry/store.ts"
import { waitFor } from "./wait.ts"

export interface LoopReport {
  readonly version: string | undefined
  readonly growthMb: number
  /** Versions whose timers still fire. */
  readonly ticking: readonly number[]
  /** Versions whose servers still answer. */
  readonly listening: readonly number[]
}

const WARM_UP = 100
const FILLER = Array.from(
  { length: 500 },
  (_, index) => `export function f${index}(x: number) { return x * ${index} + "${"x".repeat(60)}".length }`,
).join("\n")

function pluginText(number: number): string {
  return `import { definePlugin } from "leapgate/plugin"
${FILLER}
const all = [${Array.from({ length: 500 }, (_, index) => `f${index}`).join(", ")}]
export default definePlugin({
  name: "big",
  version: "1.0.${number}",
  type: "monitoring",
  setup({ emit }) {
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("${number}") })
    setInterval(() => emit.metric({ name: "tick", value: ${number}, type: "counter" }), 20)
    emit.metric({ name: "port", value: server.port + all[0](0) * 0, type: "gauge" })
    return {}
  },
})
`
}

const [reloads = "0", mode = "none"] = process.argv.slice(2)
const directory = mkdtempSync(join(tmpdir(), "leapgate-leaks-"))
const log = createLogger({ level: "silent" })
const metrics = new MetricStore()
const ports = new Set<number>()
const ticking = new Set<number>()
const ignore = () => {}

registerHostModules()
const registry = new PluginRegistry({
  log,
  metrics,
  directory,
  clock: systemClock,
  state: createMemoryStore({ clock: systemClock }),
  points: new PointBook({ clock: systemClock, log, metrics, withdraw: ignore }),
  moduleHost: createModuleHost(),
  bundled: [],
  packages: () => [],
  isLocked: false,
  maxPlugins: 10,
  maxConcurrent: 5,
  setupTimeoutMs: 10_000,
  drainTimeoutMs: 10_000,
  entry: () => undefined,
  probation: () => (mode === "probation" ? { calls: 50, maxErrors: 2 } : undefined),
  random: Math.random,
  onSwap: ignore,
  onEvent: ignore,
  onTakenBack: ignore,
  emitMetric: (_plugin, { name, value }) => void (name === "port" ? ports : ticking).add(value),
  emitCacheEvent: ignore,
})

async function reload(number: number): Promise<void> {
  writeFileSync(join(directory, "big.ts"), pluginText(number))
  await registry.sync()
}

function residentMb(): number {
  Bun.gc(true)
  return process.memoryUsage().rss / 2 ** 20
}

async function answersAt(port: number): Promise<number | undefined> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/`, { keepalive: false })
    return Number(await response.text())
  } catch {
    // Nobody listens there any more.
    return undefined
  }
}

/** All timers have the same pace. */
async function nextTickOf(number: number): Promise<void> {
  ticking.delete(number)
  await waitFor("the last timer to fire", () => ticking.has(number))
}

/** On a busy machine what was superseded last may still be on its way out. What stays for ever is still seen. */
async function untilSettled(last: number): Promise<void> {
  const expected = mode === "probation" ? 2 : 1
  for (let attempt = 0; attempt < 20; attempt++) {
    ticking.clear()
    for (let round = 0; round < 3; round++) await nextTickOf(last)
    if (ticking.size <= expected) return
  }
}

async function report(): Promise<LoopReport> {
  const last = WARM_UP + Number(reloads)
  await registry.loadAll()
  for (let number = 0; number <= WARM_UP; number++) await reload(number)
  const before = residentMb()
  for (let number = WARM_UP + 1; number <= last; number++) await reload(number)
  const growthMb = residentMb() - before
  await untilSettled(last)
  const listening: number[] = []
  for (const port of ports) {
    const number = await answersAt(port)
    // Another program may have got a port that was given back.
    if (Number.isInteger(number)) listening.push(Number(number))
  }
  const version = registry.get("big")?.version
  return { version, growthMb, ticking: [...ticking].sort(), listening: listening.sort() }
}

console.log(JSON.stringify(await report()))
await registry.shutdownAll()
rmSync(directory, { recursive: true })
process.exit(0)
