/** Who keeps the event loop: real plugins, and the program of the watchdog's thread in a process of its own. */
import { afterEach, describe, expect, test } from "bun:test"
import { systemClock } from "../../src/clock.ts"
import type { HookContext, MiddlewareContext, RequestEvent } from "../../src/plugin/contract.ts"
import { CallContext } from "../../src/plugin/point.ts"
import { Watchdog } from "../../src/plugin/watchdog.ts"
import { createLogger } from "../../src/telemetry/logger.ts"
import { MetricStore } from "../../src/telemetry/store.ts"
import { postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { renderMetrics } from "../support/render-metrics.ts"
import { waitFor } from "../support/wait.ts"
import { Harness, type LogLine } from "./fixtures.ts"

const LIMIT_MS = 30
/** Takes the processor for longer than a plugin may. */
const BUSY =
  "const busy = (ms) => { const until = performance.now() + ms; while (performance.now() < until); }"

const watchdogs: Watchdog[] = []
afterEach(() => {
  for (const watchdog of watchdogs.splice(0)) watchdog.stop()
})

function makeWatchdog(limitMs = LIMIT_MS) {
  const lines: LogLine[] = []
  const metrics = new MetricStore()
  let threads = 0
  const watchdog = new Watchdog({
    clock: systemClock,
    log: createLogger({ level: "debug", destination: (line) => lines.push(JSON.parse(line)) }),
    metrics,
    limitMs,
    startThread() {
      threads++
      return new Worker(new URL("../../src/plugin/watchdog-thread.ts", import.meta.url))
    },
  })
  watchdogs.push(watchdog)
  const blockedSeconds = (plugin: string) =>
    Number(
      new RegExp(`^leapgate_plugin_blocked_seconds_total\\{plugin="${plugin}"\\} (\\S+)$`, "m").exec(
        renderMetrics(metrics).body,
      )?.[1] ?? 0,
    )
  return { watchdog, lines, threads: () => threads, blockedSeconds }
}

async function load(watchdog: Watchdog, plugins: Readonly<Record<string, string>>): Promise<Harness> {
  const harness = new Harness({ watchdog })
  for (const [name, abilities] of Object.entries(plugins)) {
    harness.write(
      `${name}.ts`,
      `import { definePlugin } from "leapgate/plugin"
       ${BUSY}
       export default definePlugin({ name: "${name}", version: "1.0.0", type: "middleware", setup: () => ({ ${abilities} }) })`,
    )
  }
  await harness.registry.loadAll()
  return harness
}

const CONTEXT = {} as MiddlewareContext

describe("a plugin that blocks and returns", () => {
  test("is named with its hook and the time, in the log and in a metric", async () => {
    const { watchdog, lines, blockedSeconds } = makeWatchdog()
    const harness = await load(watchdog, { slow: "beforeHandle: () => busy(60)" })
    const [bound] = harness.registry.current.middlewaresFor("/")
    bound?.beforeHandle?.call(CONTEXT)
    expect(lines).toEqual([
      expect.objectContaining({
        level: "warn",
        message: "a plugin blocked the event loop",
        plugin: "slow",
        hook: "beforeHandle",
      }),
    ])
    expect(Number(lines[0]?.blockedMs)).toBeGreaterThanOrEqual(60)
    expect(blockedSeconds("slow")).toBeGreaterThanOrEqual(0.06)
  })

  test("is named where it blocks before its first promise, or throws", async () => {
    const { watchdog, lines } = makeWatchdog()
    const harness = await load(watchdog, {
      later: "async beforeHandle() { busy(60) }",
      thrower: "beforeHandle() { busy(60); throw new Error('x') }",
    })
    for (const { beforeHandle } of harness.registry.current.middlewaresFor("/")) {
      await beforeHandle?.call(CONTEXT)
    }
    expect(lines.map(({ plugin }) => plugin)).toEqual(["later", "thrower"])
  })

  test("is logged once a second, and counted each time", async () => {
    const { watchdog, lines, blockedSeconds } = makeWatchdog()
    const harness = await load(watchdog, { slow: "beforeHandle: () => busy(40)" })
    const [bound] = harness.registry.current.middlewaresFor("/")
    for (let count = 0; count < 5; count++) bound?.beforeHandle?.call(CONTEXT)
    expect(lines).toHaveLength(1)
    expect(blockedSeconds("slow")).toBeGreaterThanOrEqual(0.2)
  })

  test("after its first promise is named by how late the event loop turns", async () => {
    const { watchdog, lines, blockedSeconds } = makeWatchdog()
    const harness = await load(watchdog, {
      slow: "async beforeHandle() { await Bun.sleep(1); busy(400) }",
    })
    const [bound] = harness.registry.current.middlewaresFor("/")
    await bound?.beforeHandle?.call(CONTEXT)
    await waitFor("the line", () => lines.length > 0)
    expect(lines[0]).toMatchObject({ plugin: "slow", hook: "beforeHandle" })
    expect(blockedSeconds("slow")).toBeGreaterThan(0.1)
  })

  test("is one of those with a call in flight, where there are several", async () => {
    const { watchdog, lines, blockedSeconds } = makeWatchdog()
    const harness = await load(watchdog, {
      slow: "hooks: { async onRequest() { await Bun.sleep(1); busy(400) } }",
      innocent: "hooks: { onRequest: () => Bun.sleep(1500) }",
    })
    const calls = Promise.allSettled(
      harness.registry.current.hooks.onRequest.map(async (hook) =>
        hook.call({} as RequestEvent, new CallContext() as HookContext),
      ),
    )
    await waitFor("the line", () => lines.length > 0)
    expect(lines[0]?.oneOf).toEqual(["innocent onRequest", "slow onRequest"])
    expect(blockedSeconds("slow") + blockedSeconds("innocent")).toBe(0)
    await harness.registry.shutdownAll()
    await calls
  })

  test("is left alone below the limit, and where the watchdog is off", async () => {
    for (const [limitMs, busyMs] of [
      [1000, 5],
      [0, 60],
    ] as const) {
      const { watchdog, lines } = makeWatchdog(limitMs)
      const harness = await load(watchdog, { slow: `beforeHandle: () => busy(${busyMs})` })
      const [bound] = harness.registry.current.middlewaresFor("/")
      bound?.beforeHandle?.call(CONTEXT)
      expect(lines).toEqual([])
    }
  })
})

test("there is one thread, and none without a plugin or with the watchdog off", async () => {
  const idle = makeWatchdog()
  await load(idle.watchdog, {})
  expect(idle.threads()).toBe(0)
  const off = makeWatchdog(0)
  await load(off.watchdog, { a: "beforeHandle() {}" })
  expect(off.threads()).toBe(0)
  const on = makeWatchdog()
  await load(on.watchdog, { a: "beforeHandle() {}", b: "beforeHandle() {}, hooks: { onRequest() {} }" })
  expect(on.threads()).toBe(1)
})

describe("a plugin that never returns", () => {
  const LOOPS = `for (;;);`
  const PATIENCE_MS = 15_000
  let gateway: RunningGateway | undefined

  afterEach(async () => {
    await gateway?.stop()
    gateway = undefined
  })

  test(
    "is named while the event loop stands still",
    async () => {
      gateway = await startGateway({
        plugins: { "looper.ts": plugin("looper", `setup: () => ({ beforeHandle() { ${LOOPS} } })`) },
      })
      void postChat(gateway.url, { model: "demo" }).catch(() => {})
      const line = await stillLine(gateway)
      expect(line).toMatchObject({
        level: "error",
        message: "a plugin keeps the event loop",
        plugin: "looper",
        hook: "beforeHandle",
      })
      expect(Number(line.stillMs)).toBeGreaterThanOrEqual(2000)
    },
    PATIENCE_MS,
  )

  test(
    "after its first promise is one of those that are named",
    async () => {
      gateway = await startGateway({
        plugins: {
          "looper.ts": plugin(
            "looper",
            `setup: () => ({ async beforeHandle() { await Bun.sleep(1); ${LOOPS} } })`,
          ),
        },
      })
      void postChat(gateway.url, { model: "demo" }).catch(() => {})
      expect(await stillLine(gateway)).toMatchObject({ oneOf: ["looper beforeHandle"] })
    },
    PATIENCE_MS,
  )

  test(
    "in its setup is named, too",
    async () => {
      gateway = await startGateway()
      await gateway.writePlugin("looper.ts", plugin("looper", `setup() { ${LOOPS} }`))
      expect(await stillLine(gateway)).toMatchObject({ plugin: "looper", hook: "setup" })
    },
    PATIENCE_MS,
  )

  function plugin(name: string, rest: string): string {
    return `import { definePlugin } from "leapgate/plugin"
export default definePlugin({ name: "${name}", version: "1.0.0", type: "middleware", ${rest} })`
  }

  async function stillLine({ logs }: RunningGateway): Promise<LogLine> {
    const text = await waitFor(
      "the watchdog's line",
      () =>
        logs()
          .split("\n")
          .find((line) => line.includes('"stillMs"')),
      10_000,
    )
    return JSON.parse(text)
  }
})
