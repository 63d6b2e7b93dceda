/** The breaker of real plugins, on a clock that the test moves. */
import { describe, expect, test } from "bun:test"
import { breakerSettings, DEFAULT_BREAKER } from "../../src/plugin/breaker.ts"
import type { MiddlewareContext, ProviderCall } from "../../src/plugin/contract.ts"
import type { PluginSettings } from "../../src/plugin/instance.ts"
import { pluginProvider } from "../../src/routing/provider.ts"
import { manualClock } from "../state/manual-clock.ts"
import { renderMetrics } from "../support/render-metrics.ts"
import { waitFor } from "../support/wait.ts"
import { Harness } from "./fixtures.ts"

const SETTINGS = { failures: 3, windowMs: 30_000, coolDownMs: 60_000 }
const MINUTE = 60_000

/** Does what the path of the request says. */
const OBEDIENT = `import { definePlugin, GatewayError } from "leapgate/plugin"
export default definePlugin({ name: "subject", version: "1.0.0", type: "middleware",
  setup: () => ({ beforeHandle({ path }) {
    if (path === "fail") throw new Error("no luck")
    if (path === "reject") throw new GatewayError("rate_limit_exceeded", "slow down")
    if (path === "hang") return new Promise(() => {})
    if (path === "late") setTimeout(() => { throw new Error("too late") }, 0)
    if (path === "answer") return new Response("mine")
  } }) })`

async function subject(settings: Partial<PluginSettings> = {}, breaker = SETTINGS) {
  const clock = manualClock()
  const harness = new Harness({ clock, breaker })
  harness.entries.subject = settings
  harness.write("subject.ts", OBEDIENT)
  await harness.registry.loadAll()
  const call = (path: string) => {
    const [bound] = harness.registry.current.middlewaresFor("/v1/x")
    const context = { path } as MiddlewareContext
    return bound?.beforeHandle?.call(context)
  }
  const outcome = async (path: string) => {
    try {
      return await call(path)
    } catch (thrown) {
      return thrown
    }
  }
  const times = async (count: number, path: string) => {
    for (let done = 0; done < count; done++) await outcome(path)
  }
  const isOn = async () => (await outcome("answer")) instanceof Response
  const info = () => harness.registry.getInfo("subject")
  const metric = (name: string) =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(renderMetrics(harness.metrics).body)?.[1] ?? 0)
  return { harness, clock, outcome, times, isOn, info, metric }
}

describe("a plugin is switched off", () => {
  test("by more failures than are allowed, and not by as many", async () => {
    const { times, isOn, info } = await subject()
    await times(3, "fail")
    expect(info().state).toBe("active")
    await times(1, "fail")
    expect(info().state).toBe("error")
    expect(await isOn()).toBe(false)
  })

  test("by calls that are cut at their deadline", async () => {
    const { times, info } = await subject({ timeoutMs: 1 })
    await times(4, "hang")
    expect(info().state).toBe("error")
  })

  test("by what it throws outside its calls, however many calls go well", async () => {
    const { harness, times, isOn, info } = await subject()
    await times(100, "answer")
    await times(4, "late")
    await waitFor("the breaker to trip", () => info().state === "error")
    expect(await isOn()).toBe(false)
    expect(harness.registry.get("subject")?.conduct.failures).toBe(4)
  })

  test("not by requests that it rejects on purpose", async () => {
    const { times, isOn } = await subject()
    await times(20, "reject")
    expect(await isOn()).toBe(true)
  })

  test("not by failures that are spread over more than the window", async () => {
    const { times, clock, isOn } = await subject()
    for (let round = 0; round < 10; round++) {
      await times(1, "fail")
      clock.advance(10_001)
    }
    expect(await isOn()).toBe(true)
  })

  test("not by a few failures among many good calls", async () => {
    const { times, isOn } = await subject()
    for (let round = 0; round < 10; round++) {
      await times(1, "fail")
      await times(5, "answer")
    }
    expect(await isOn()).toBe(true)
  })

  test("never where its breaker is off", async () => {
    const { times, isOn } = await subject({ breaker: false })
    await times(20, "fail")
    expect(await isOn()).toBe(true)
  })

  test("by its own settings where it has some", async () => {
    const { times, isOn } = await subject({ breaker: { failures: 1 } })
    await times(2, "fail")
    expect(await isOn()).toBe(false)
  })
})

describe("while it is off", () => {
  test("its instance stays, nothing calls it, and what is left out is counted", async () => {
    const { harness, times, info, metric } = await subject()
    const before = harness.registry.get("subject")
    await times(4, "fail")
    await times(5, "answer")
    expect(harness.registry.get("subject")).toBe(before)
    expect(info().metrics).toMatchObject({ calls: 4, errors: 4 })
    expect(metric('leapgate_plugin_skipped_total\\{plugin="subject"\\}')).toBe(5)
    expect(metric('leapgate_plugin_trips_total\\{plugin="subject"\\}')).toBe(1)
    expect(metric('leapgate_plugin_state\\{plugin="subject",state="error"\\}')).toBe(1)
  })

  test("the admin API and one line of the log say why and until when", async () => {
    const { harness, clock, times, info } = await subject()
    await times(6, "fail")
    const until = new Date(clock.now() + MINUTE).toISOString()
    expect(info().error).toMatchObject({
      code: "plugin_failed",
      message: expect.stringContaining(`until ${until}`),
    })
    expect(info().error?.message).toContain("beforeHandle: no luck")
    const lines = harness.log.filter(({ message }) => message.includes("was switched off"))
    expect(lines).toEqual([
      expect.objectContaining({ plugin: "subject", until, reason: "beforeHandle: no luck" }),
    ])
  })

  test("one that fails closed rejects requests at once, and says when to come back", async () => {
    const { clock, times, outcome } = await subject({ onError: "closed" })
    await times(4, "fail")
    clock.advance(20_000)
    expect(await outcome("answer")).toMatchObject({
      code: "plugin_failed",
      status: 503,
      retryAfterMs: 40_000,
    })
  })
})

describe("it comes back", () => {
  test("when the cool-down is over and the one call that is let through goes well", async () => {
    const { harness, clock, times, isOn, info, metric } = await subject()
    await times(4, "fail")
    clock.advance(MINUTE - 1)
    expect(await isOn()).toBe(false)
    clock.advance(1)
    expect(await isOn()).toBe(true)
    expect(info()).toMatchObject({ state: "active", error: null })
    expect(metric('leapgate_plugin_state\\{plugin="subject",state="active"\\}')).toBe(1)
    expect(harness.log.some(({ message }) => message.includes("is on again"))).toBe(true)
    await times(3, "fail")
    expect(info().state).toBe("active")
  })

  test("not when that call fails: it stays away twice as long each time, and ten minutes at most", async () => {
    const { clock, times, info, outcome } = await subject()
    await times(4, "fail")
    for (const minutes of [2, 4, 8, 10, 10]) {
      clock.advance(10 * MINUTE)
      await outcome("fail")
      const until = new Date(clock.now() + minutes * MINUTE).toISOString()
      expect(info().error?.details).toEqual({ until })
    }
  })

  test("one call at a time: others are left out while it is tried", async () => {
    const { clock, times, outcome, isOn } = await subject({ timeoutMs: 50 })
    await times(4, "fail")
    clock.advance(MINUTE)
    const tried = outcome("hang")
    expect(await isOn()).toBe(false)
    await tried
    expect(await isOn()).toBe(false)
  })

  test("a call that it rejects on purpose is a good one", async () => {
    const { clock, times, isOn, outcome } = await subject()
    await times(4, "fail")
    clock.advance(MINUTE)
    expect(await outcome("reject")).toMatchObject({ code: "rate_limit_exceeded" })
    expect(await isOn()).toBe(true)
  })

  test("when it is enabled, and keeps its instance", async () => {
    const { harness, times, isOn } = await subject()
    const before = harness.registry.get("subject")
    await times(4, "fail")
    expect(await harness.registry.enable("subject")).toMatchObject({ state: "active", error: null })
    expect(await isOn()).toBe(true)
    expect(harness.registry.get("subject")).toBe(before)
  })

  test("when it is reloaded, as a new instance", async () => {
    const { harness, times, isOn } = await subject()
    const before = harness.registry.get("subject")
    await times(4, "fail")
    expect(await harness.registry.reload("subject")).toMatchObject({ state: "active", error: null })
    expect(await isOn()).toBe(true)
    expect(harness.registry.get("subject")).not.toBe(before)
  })
})

test("a provider that is switched off fails its attempts at once, so that the next one is tried", async () => {
  const harness = new Harness({ clock: manualClock(), breaker: SETTINGS })
  harness.write(
    "subject.ts",
    `import { definePlugin } from "leapgate/plugin"
     export default definePlugin({ name: "subject", version: "1.0.0", type: "provider",
       setup: () => ({ models: ["m"], chat() { throw new Error("no luck") } }) })`,
  )
  await harness.registry.loadAll()
  const [instance] = harness.registry.current.providers
  if (instance === undefined) throw new Error("there is no provider")
  const provider = pluginProvider(instance, { points: harness.points, models: undefined })
  const call = { signal: new AbortController().signal } as ProviderCall
  for (let count = 0; count < 4; count++) await Promise.resolve(provider.chat(call)).catch(() => {})
  expect(harness.stateOf("subject")).toBe("error")
  await expect(Promise.resolve(provider.chat(call))).rejects.toMatchObject({
    code: "upstream_server_error",
    retryAfterMs: MINUTE,
    message: expect.stringContaining("switched off for a while"),
  })
  expect(harness.registry.getInfo("subject").metrics.calls).toBe(4)
})

test("a plugin's own settings fill up from those of all", () => {
  const all = { failures: 1, windowMs: 2, coolDownMs: 3 }
  expect(breakerSettings(undefined, all)).toEqual(all)
  expect(breakerSettings(undefined, false)).toBe(false)
  expect(breakerSettings(false, all)).toBe(false)
  expect(breakerSettings({ windowMs: 9 }, all)).toEqual({ ...all, windowMs: 9 })
  expect(breakerSettings({ failures: 9 }, false)).toEqual({ ...DEFAULT_BREAKER, failures: 9 })
})
