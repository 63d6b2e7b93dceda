/** Real provider plugins, loaded from files, that are watched on a clock which the test moves. */
import { describe, expect, onTestFinished, test } from "bun:test"
import { PointBook } from "../../src/plugin/point.ts"
import { HealthBook } from "../../src/routing/health.ts"
import { ProviderWatch } from "../../src/routing/provider-watch.ts"
import { createLogger } from "../../src/telemetry/logger.ts"
import { MetricStore } from "../../src/telemetry/store.ts"
import { Harness, type LogLine } from "../plugin/fixtures.ts"
import { steppedClock } from "../support/stepped-clock.ts"
import { waitFor } from "../support/wait.ts"

const MINUTE = 60_000

/** What plugins and tests both see: what a plugin answers, and how often it was asked. */
interface World {
  models?: (signal: AbortSignal) => unknown
  health?: (signal: AbortSignal) => unknown
  asked: { models: number; health: number }
}

async function setUp(world: Omit<World, "asked">, { timeoutMs = 5000, healthPauseMs = 30_000 } = {}) {
  const key = `leapgate-world-${crypto.randomUUID()}`
  const shared: World = { ...world, asked: { models: 0, health: 0 } }
  Object.defineProperty(globalThis, key, { value: shared, configurable: true })
  const harness = new Harness()
  harness.entries.subject = { timeoutMs }
  const clock = steppedClock()
  const lines: LogLine[] = []
  const log = createLogger({ level: "debug", destination: (line) => lines.push(JSON.parse(line)) })
  const metrics = new MetricStore()
  const health = new HealthBook({ clock, log, metrics })
  const points = new PointBook({ clock, log, metrics, withdraw() {} })
  let changes = 0
  let pauseMs = healthPauseMs
  const watch = new ProviderWatch({
    clock,
    log,
    points,
    health,
    healthPauseMs: () => pauseMs,
    onModels: () => void changes++,
  })
  onTestFinished(async () => {
    watch.follow([])
    await harness.registry.shutdownAll()
    Reflect.deleteProperty(globalThis, key)
  })
  await load("1.0.0", Object.keys(world))
  return {
    ...shared,
    world: shared,
    harness,
    clock,
    lines,
    health,
    watch,
    load,
    follow,
    pauseFor: (ms: number) => {
      pauseMs = ms
    },
    stats: () => harness.registry.getInfo("subject").metrics,
    changes: () => changes,
    instance,
    models: () => watch.modelsOf(instance())?.map(({ id }) => id),
    /** Moves the clock, and waits until what is asked has been asked this often. */
    async step(ms: number, what: "models" | "health", times: number) {
      clock.advance(ms)
      await waitFor(`${what} to be asked ${times} times`, () => shared.asked[what] === times)
      await settled()
    },
  }

  function follow(): void {
    watch.follow(harness.registry.current.providers)
  }

  function instance() {
    const [plugin] = harness.registry.current.providers
    if (plugin === undefined) throw new Error("the plugin is not active")
    return plugin
  }

  async function load(version: string, abilities: readonly string[]): Promise<void> {
    const has = (name: string, ability: string) =>
      abilities.includes(name)
        ? `${ability}: ({ signal }) => { world.asked.${name}++; return world.${name}(signal) },`
        : ""
    harness.write(
      "subject.ts",
      `import { definePlugin } from "leapgate/plugin"
       const world = globalThis["${key}"]
       export default definePlugin({ name: "subject", version: "${version}", type: "provider",
         setup: () => ({ models: ["own-${version}"], ${has("models", "listModels")} ${has("health", "healthCheck")}
           chat: () => new Response() }) })`,
    )
    await harness.registry.sync()
    await waitFor(`version ${version}`, () => harness.versionOf("subject") === version)
    follow()
  }
}

/** What follows a settled promise has run. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

describe("a live list of models", () => {
  test("is asked for when the plugin comes into service, and every minute", async () => {
    let list: unknown = ["a", { id: "b", inputCostUsd: 2 }]
    const { step, models, watch, instance, changes, world, clock } = await setUp({ models: () => list })
    expect(models()).toBeUndefined()
    expect(world.asked.models).toBe(0)
    await step(0, "models", 1)
    expect(watch.modelsOf(instance())).toEqual([{ id: "a" }, { id: "b", inputCostUsd: 2 }])
    expect(changes()).toBe(1)

    clock.advance(MINUTE - 1)
    expect(world.asked.models).toBe(1)
    list = Promise.resolve(["a"])
    await step(1, "models", 2)
    expect(models()).toEqual(["a"])
    expect(changes()).toBe(2)
  })

  test("that stays the same changes nothing, nor does a first one that is like `models`", async () => {
    const { step, changes } = await setUp({ models: () => ["own-1.0.0"] })
    await step(0, "models", 1)
    await step(MINUTE, "models", 2)
    expect(changes()).toBe(0)
  })

  test.each([
    ["an error", () => Promise.reject(new Error("boom")), "boom"],
    [
      "something else",
      () => [1],
      "listModels gave something else: it must be a list of model names or { id, … } objects, got [1]",
    ],
    ["nothing", () => undefined, "listModels gave something else"],
  ])("keeps what was known where the plugin gives %s", async (_, failing, message) => {
    const { step, models, world, stats, changes } = await setUp({ models: () => ["a"] })
    await step(0, "models", 1)
    world.models = failing
    await step(MINUTE, "models", 2)
    await waitFor("the failure to be counted", () => stats().errors === 1)
    expect(stats().last_error?.message).toStartWith(`listModels: ${message}`)
    expect(models()).toEqual(["a"])
    expect(changes()).toBe(1)
    world.models = () => ["b"]
    await step(MINUTE, "models", 3)
    expect(models()).toEqual(["b"])
  })

  test("is cut at the plugin's timeout, which counts as one", async () => {
    let signal: AbortSignal | undefined
    const never = (given: AbortSignal) => {
      signal = given
      return new Promise(() => {})
    }
    const { step, clock, stats } = await setUp({ models: never }, { timeoutMs: 700 })
    await step(0, "models", 1)
    clock.advance(699)
    expect(signal?.aborted).toBe(false)
    clock.advance(1)
    expect(signal?.aborted).toBe(true)
    await waitFor("the timeout to be counted", () => stats().timeouts === 1)
    expect(stats().last_error?.message).toContain('plugin "subject" did not finish listModels within 700 ms')
    await settled()
    await step(MINUTE, "models", 2)
  })

  test("that fails is told at most once a minute, also by new versions", async () => {
    const { step, lines, load, stats } = await setUp({ models: () => Promise.reject(new Error("boom")) })
    const told = () => lines.filter(({ message }) => message.includes("failed to list its models")).length
    await step(0, "models", 1)
    await load("2.0.0", ["models"])
    await step(0, "models", 2)
    await waitFor("both to be counted", () => stats().errors === 2)
    expect(told()).toBe(1)
    await step(MINUTE, "models", 3)
    await waitFor("the third to be told", () => told() === 2)
  })

  test("outlives a new version until that has its own", async () => {
    const { step, load, models } = await setUp({ models: () => ["a"] })
    await step(0, "models", 1)
    await load("2.0.0", ["models"])
    expect(models()).toEqual(["a"])
  })

  test("goes with a version that lists none", async () => {
    const { step, load, models } = await setUp({ models: () => ["a"] })
    await step(0, "models", 1)
    await load("2.0.0", [])
    expect(models()).toBeUndefined()
    await load("3.0.0", ["models"])
    expect(models()).toBeUndefined()
  })

  test("is not asked for any more when the plugin goes, and a question under way is withdrawn", async () => {
    let signal: AbortSignal | undefined
    const answer = Promise.withResolvers<string[]>()
    const { step, harness, follow, clock, world, changes } = await setUp({
      models: (given) => {
        signal = given
        return answer.promise
      },
    })
    await step(0, "models", 1)
    harness.registry.disable("subject")
    follow()
    expect(signal?.aborted).toBe(true)
    answer.resolve(["late"])
    await settled()
    expect(changes()).toBe(0)
    expect(clock.pending).toBe(0)
    clock.advance(10 * MINUTE)
    expect(world.asked.models).toBe(1)
    expect(harness.registry.getInfo("subject").metrics.errors).toBe(0)
  })
})

describe("a health check", () => {
  const failing = (message: string) => () => Promise.reject(new Error(message))

  test("comes with the plugin's service and after every pause, and its answer holds until the next", async () => {
    const { step, health, world, clock } = await setUp({ health: failing("no credit") })
    expect(health.of("subject")).toMatchObject({ status: "unknown" })
    await step(0, "health", 1)
    expect(health.of("subject")).toMatchObject({ status: "unhealthy", reason: "no credit" })
    world.health = () => {}
    clock.advance(29_999)
    expect(world.asked.health).toBe(1)
    await step(1, "health", 2)
    expect(health.of("subject")).toMatchObject({ status: "healthy", reason: undefined })
  })

  test("that says no is no failure of the plugin", async () => {
    const { step, stats } = await setUp({
      health: () => {
        throw new Error("no")
      },
    })
    await step(0, "health", 1)
    expect(stats()).toMatchObject({ calls: 1, errors: 0, timeouts: 0 })
  })

  test.each([
    [700, 700],
    [60_000, 10_000],
  ])("with a timeout of %i ms for the plugin is cut after %i ms", async (timeoutMs, limitMs) => {
    const { step, clock, health } = await setUp({ health: () => new Promise(() => {}) }, { timeoutMs })
    await step(0, "health", 1)
    clock.advance(limitMs - 1)
    await settled()
    expect(health.of("subject")?.status).toBe("unknown")
    clock.advance(1)
    await waitFor("the verdict", () => health.of("subject")?.status === "unhealthy")
    expect(health.of("subject")?.reason).toContain(`did not finish healthCheck within ${limitMs} ms`)
  })

  test("never comes without a pause, whatever the configuration says", async () => {
    const { step, clock, world } = await setUp({ health: () => {} }, { healthPauseMs: 0 })
    await step(0, "health", 1)
    clock.advance(99)
    expect(world.asked.health).toBe(1)
    await step(1, "health", 2)
  })

  test("follows another pause at once", async () => {
    const { step, clock, world, pauseFor, follow } = await setUp({ health: () => {} })
    await step(0, "health", 1)
    pauseFor(2000)
    follow()
    await step(0, "health", 2)
    clock.advance(1999)
    expect(world.asked.health).toBe(2)
    await step(1, "health", 3)
    follow()
    expect(clock.pending).toBe(1)
  })

  test("of a new version follows at once; until then what was known holds", async () => {
    const { step, load, health } = await setUp({ health: failing("down") })
    await step(0, "health", 1)
    await load("2.0.0", ["health"])
    expect(health.of("subject")).toMatchObject({ status: "unhealthy" })
    await step(0, "health", 2)
  })

  test.each([
    ["a version without one", (s: Awaited<ReturnType<typeof setUp>>) => s.load("2.0.0", [])],
    [
      "the plugin's end",
      (s: Awaited<ReturnType<typeof setUp>>) => {
        s.harness.registry.disable("subject")
        s.follow()
      },
    ],
  ])("leaves nothing behind after %s", async (_, go) => {
    const subject = await setUp({ health: failing("down") })
    await subject.step(0, "health", 1)
    await go(subject)
    expect(subject.health.of("subject")).toBeUndefined()
    expect(subject.clock.pending).toBe(0)
  })
})
