/** How the gateway calls into plugins: through a snapshot of real plugins, loaded from files. */
import { describe, expect, test } from "bun:test"
import { GatewayError } from "../../src/errors.ts"
import { HOOK_NAMES, type MiddlewareContext } from "../../src/plugin/contract.ts"
import type { PluginSettings } from "../../src/plugin/instance.ts"
import { CallContext } from "../../src/plugin/point.ts"
import type { Snapshot } from "../../src/plugin/snapshot.ts"
import { waitFor } from "../support/wait.ts"
import { failureOf, Harness } from "./fixtures.ts"

const CONTEXT = {} as MiddlewareContext

async function middleware(beforeHandle: string, settings: Partial<PluginSettings> = {}) {
  const harness = new Harness()
  harness.entries.subject = settings
  harness.write(
    "subject.ts",
    `import { definePlugin, GatewayError } from "leapgate/plugin"
     export default definePlugin({ name: "subject", version: "1.0.0", type: "middleware",
       setup: () => ({ beforeHandle(context) { ${beforeHandle} } }) })`,
  )
  await harness.registry.loadAll()
  const [bound] = harness.registry.current.middlewaresFor("/v1/x")
  const point = bound?.beforeHandle
  if (point === undefined) throw new Error("the middleware is not bound")
  const failures = () => harness.log.filter(({ message }) => message === "a plugin failed")
  return { harness, failures, call: () => point.call(CONTEXT) }
}

describe("a call into a plugin", () => {
  test("stays synchronous while the plugin does", async () => {
    const { call } = await middleware("return new Response('done')")
    expect(call()).toBeInstanceOf(Response)
  })

  test("that is asynchronous is awaited", async () => {
    const { call } = await middleware("return Promise.resolve(new Response('later'))")
    const result = call()
    expect(result).toBeInstanceOf(Promise)
    expect(await result).toBeInstanceOf(Response)
  })

  test("is counted for the plugin, and outlives its reload", async () => {
    const { harness, call } = await middleware("")
    call()
    call()
    await harness.registry.reload("subject")
    expect(harness.registry.getInfo("subject").metrics).toMatchObject({ calls: 2, errors: 0 })
  })

  test("that throws is isolated, counted, and its message kept", async () => {
    const { harness, call } = await middleware("throw new Error('no luck')")
    expect(call()).toBeUndefined()
    expect(harness.registry.getInfo("subject").metrics).toMatchObject({
      calls: 1,
      errors: 1,
      last_error: { message: "beforeHandle: no luck" },
    })
  })

  test("that fails again and again is logged at most once a second", async () => {
    const { call, failures } = await middleware("throw new Error('no luck')")
    for (let count = 0; count < 100; count++) call()
    expect(failures()).toHaveLength(1)
  })

  test("that hangs is cut at its deadline, and counted as a timeout", async () => {
    const { harness, call } = await middleware("return new Promise(() => {})", { timeoutMs: 20 })
    expect(await call()).toBeUndefined()
    expect(harness.registry.getInfo("subject").metrics).toMatchObject({ errors: 1, timeouts: 1 })
  })

  test("that returns something else than its type allows is a failure", async () => {
    const { call, failures } = await middleware("return 5")
    expect(call()).toBeUndefined()
    expect(JSON.stringify(failures())).toContain("expected a Response or nothing")
  })

  test("that throws a GatewayError rejects the request on purpose, and is no failure", async () => {
    const { harness, call } = await middleware("throw new GatewayError('rate_limit_exceeded', 'slow down')")
    expect(await failureOf(call)).toMatchObject({ code: "rate_limit_exceeded", status: 429 })
    expect(harness.registry.getInfo("subject").metrics.errors).toBe(0)
  })

  test("ends when its plugin is disposed, rather than never", async () => {
    const { harness, call } = await middleware("return new Promise(() => {})", {
      onError: "closed",
      timeoutMs: 60_000,
    })
    const pending = failureOf(call)
    await harness.registry.shutdownAll()
    expect(await pending).toMatchObject({ code: "plugin_failed" })
  })
})

describe("on_error", () => {
  test("closed: a failure fails the request and names the plugin", async () => {
    const { call } = await middleware("throw new Error('no luck')", { onError: "closed" })
    const failure = await failureOf(call)
    expect(failure).toBeInstanceOf(GatewayError)
    expect(failure).toMatchObject({ code: "plugin_failed", status: 503 })
    expect(String(failure)).toContain('plugin "subject" failed in beforeHandle')
    expect(String(failure)).not.toContain("no luck")
  })

  test("closed: a timeout has its own code", async () => {
    const { call } = await middleware("return new Promise(() => {})", { onError: "closed", timeoutMs: 20 })
    expect(await failureOf(call)).toMatchObject({ code: "plugin_timeout" })
  })

  test("disable: the first failure switches the plugin off, with the reason", async () => {
    const { harness, call } = await middleware("throw new Error('no luck')", { onError: "disable" })
    expect(call()).toBeUndefined()
    const info = harness.registry.getInfo("subject")
    expect(info).toMatchObject({ enabled: false, state: "inactive" })
    expect(info.error?.message).toContain("no luck")
    expect(harness.registry.current.middlewaresFor("/v1/x")).toEqual([])
  })
})

describe("hooks", () => {
  const recorder = (name: string, priority: number, hooks: string) =>
    `import { definePlugin } from "leapgate/plugin"
     export default definePlugin({ name: "${name}", version: "1.0.0", type: "middleware",
       setup: ({ emit }) => ({ priority: ${priority}, hooks: { ${hooks} } }) })`

  async function load(files: Readonly<Record<string, string>>) {
    const harness = new Harness()
    for (const [file, text] of Object.entries(files)) harness.write(file, text)
    await harness.registry.loadAll()
    return { harness, snapshot: harness.registry.current }
  }

  const event = () => ({}) as Parameters<Snapshot["hooks"]["onRequest"][0]["call"]>[0]

  test("run by priority, the higher first", async () => {
    const { snapshot } = await load({
      "a.ts": recorder("low", 10, "onRequest: () => {}"),
      "b.ts": recorder("high", 90, "onRequest: () => {}"),
    })
    expect(snapshot.hooks.onRequest.map(({ instance }) => instance.name)).toEqual(["high", "low"])
  })

  test("nobody registered for cost no event", async () => {
    const { snapshot } = await load({})
    let isMade = false
    snapshot.observe("onMetric", () => {
      isMade = true
      return { name: "x", value: 1, type: "counter" }
    })
    expect(isMade).toBe(false)
    expect(HOOK_NAMES.flatMap((name) => [...snapshot.hooks[name]])).toEqual([])
  })

  test("that observe run later, and one that throws keeps no other from being told", async () => {
    const { harness, snapshot } = await load({
      "a.ts": recorder("broken", 90, "onMetric() { throw new Error('no') }"),
      "b.ts": recorder(
        "fine",
        10,
        "onMetric({ name }) { if (name !== 'echo') emit.metric({ name: 'echo', value: 1, type: 'counter' }) }",
      ),
    })
    snapshot.observe("onMetric", () => ({ name: "asked", value: 1, type: "counter" }))
    expect(harness.said).toEqual([])
    await waitFor("the second observer to be told", () => harness.said.length > 0)
    expect(harness.said).toEqual(["echo 1"])
  })

  test("that observe cannot reject: a GatewayError of theirs is a failure like any other", async () => {
    const { harness, snapshot } = await load({
      "a.ts": recorder(
        "strict",
        90,
        "onMetric() { throw new GatewayError('request_rejected', 'no') }",
      ).replace("{ definePlugin }", "{ definePlugin, GatewayError }"),
      "b.ts": recorder(
        "fine",
        10,
        "onMetric({ name }) { if (name !== 'echo') emit.metric({ name: 'echo', value: 1, type: 'counter' }) }",
      ),
    })
    snapshot.observe("onMetric", () => ({ name: "asked", value: 1, type: "counter" }))
    await waitFor("the second observer to be told", () => harness.said.length > 0)
    expect(harness.registry.getInfo("strict").metrics.errors).toBe(1)
    expect(snapshot.requests).toBe(0)
  })

  test("that observe keep their snapshot until they are done", async () => {
    const { snapshot } = await load({ "a.ts": recorder("slow", 50, "onMetric: () => Bun.sleep(5)") })
    snapshot.observe("onMetric", () => ({ name: "asked", value: 1, type: "counter" }))
    expect(snapshot.requests).toBe(1)
    await waitFor("the observer to be done", () => snapshot.requests === 0)
  })

  test("get a signal that aborts at the deadline", async () => {
    const harness = new Harness()
    harness.entries.waiter = { timeoutMs: 20 }
    harness.write(
      "waiter.ts",
      recorder(
        "waiter",
        50,
        "onRequest: (_, { signal }) => new Promise(() => signal.addEventListener('abort', () => emit.metric({ name: signal.reason.code, value: 1, type: 'counter' })))",
      ),
    )
    await harness.registry.loadAll()
    await harness.registry.current.hooks.onRequest[0]?.call(event(), new CallContext())
    expect(harness.said).toEqual(["plugin_timeout 1"])
  })

  test("get a signal that aborts when the client leaves", async () => {
    const { harness, snapshot } = await load({
      "a.ts": recorder(
        "waiter",
        50,
        "onRequest: (_, { signal }) => new Promise((resolve) => signal.addEventListener('abort', () => { emit.metric({ name: 'gone', value: 1, type: 'counter' }); resolve() }))",
      ),
    })
    const client = new AbortController()
    const pending = snapshot.hooks.onRequest[0]?.call(event(), new CallContext(client.signal))
    client.abort()
    await pending
    expect(harness.said).toEqual(["gone 1"])
  })
})
