import { describe, expect, test } from "bun:test"
import type { MiddlewareContext } from "../../src/plugin/contract.ts"
import type { Snapshot } from "../../src/plugin/snapshot.ts"
import { waitFor } from "../support/wait.ts"
import { Harness, pluginText } from "./fixtures.ts"

const RULE = { calls: 5, maxErrors: 1 }
const CONTEXT = {} as MiddlewareContext

interface VersionText {
  /** Body of `beforeHandle`. */
  readonly body?: string
  readonly setup?: string
  readonly more?: string
}

const FAILS = { body: `throw new Error("no luck")` }
const REFUSES = { body: `throw new GatewayError("request_rejected", "not you")` }

function versionText(version: string, { body = "", ...text }: VersionText = {}): string {
  return pluginText({
    name: "alpha",
    version,
    type: "middleware",
    abilities: `beforeHandle() { ${body} }`,
    ...text,
  })
}

/** A registry in which `alpha` 1.0.0 serves and 2.0.0 has just replaced it. */
async function replaced(second: VersionText, options: ConstructorParameters<typeof Harness>[0] = {}) {
  const harness = new Harness({ probation: RULE, ...options })
  harness.write("a.ts", versionText("1.0.0"))
  await harness.registry.loadAll()
  await save(harness, "2.0.0", second)
  return harness
}

async function save(harness: Harness, version: string, text: VersionText = {}): Promise<void> {
  harness.write("a.ts", versionText(version, text))
  await harness.registry.sync()
}

/** Calls what serves, as requests do: each in its own turn. */
async function call(harness: Harness, times: number, snapshot?: Snapshot): Promise<void> {
  for (let count = 0; count < times; count++) {
    const [middleware] = (snapshot ?? harness.registry.current).middlewaresFor("/v1/x")
    await Promise.try(() => middleware?.beforeHandle?.call(CONTEXT)).catch(() => {})
  }
}

function metric(harness: Harness, name: string, ...labels: readonly string[]): number | undefined {
  const family = [...harness.metrics.families()].find((other) => other.name === name)
  const series = [...(family?.series.values() ?? [])].find(({ values }) => Bun.deepEquals(values, labels))
  return series !== undefined && "value" in series ? series.value : undefined
}

describe("a new version", () => {
  test("is on probation: the one before is out of service, and alive with its timers", async () => {
    await using harness = new Harness({ probation: RULE })
    harness.write("a.ts", versionText("1.0.0", { setup: `setInterval(() => say("tick"), 1)` }))
    await harness.registry.loadAll()
    await save(harness, "2.0.0")
    expect(harness.versionOf("alpha")).toBe("2.0.0")
    expect(harness.registry.current.instances).toHaveLength(1)
    expect(harness.registry.getInfo("alpha").previous_version).toBe("1.0.0")
    const ticks = () => harness.said.filter((text) => text === "tick 0").length
    const counted = ticks()
    await waitFor("more ticks of the version that is held", () => ticks() > counted + 1)
    expect(harness.said).not.toContain("alpha gone 1")
  })

  test("that does well passes after its calls, and the one before goes", async () => {
    await using harness = await replaced({})
    await call(harness, RULE.calls - 1)
    expect(harness.said).not.toContain("alpha gone 1")
    await call(harness, 1)
    await harness.heard("alpha gone 1")
    expect(harness.registry.current.generation).toBe(2)
    expect(harness.versionOf("alpha")).toBe("2.0.0")
  })

  test("that fails too often is taken back by itself", async () => {
    await using harness = await replaced(FAILS)
    await call(harness, 2)
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      state: "active",
      version: "1.0.0",
      generation: 3,
      previous_version: null,
      serves_previous: true,
      error: {
        code: "plugin_failed",
        message:
          "version 2.0.0 failed 2 of 2 calls and was taken back; 1.0.0 serves again. Last: beforeHandle: no luck",
      },
    })
    await harness.heard("alpha gone 2")
    expect(harness.said).not.toContain("alpha gone 1")
    expect(harness.events.at(-1)).toMatchObject({ change: "rolled_back", version: "1.0.0", generation: 3 })
    expect(metric(harness, "gateway.plugin.rollbacks", "alpha", "automatic")).toBe(1)
    expect(harness.log).toContainEqual(
      expect.objectContaining({ level: "error", message: "a plugin was rolled back", plugin: "alpha" }),
    )
  })

  test("may fail as often as the rule allows, and its last call counts", async () => {
    await using harness = await replaced({
      setup: "let calls = 0",
      body: `if (++calls === 5) throw new Error("late")`,
    })
    await call(harness, 5)
    await harness.heard("alpha gone 1")
    expect(harness.versionOf("alpha")).toBe("2.0.0")
  })

  test("whose last call is one failure too many is taken back", async () => {
    await using harness = await replaced({
      setup: "let calls = 0",
      body: `if (++calls >= 4) throw new Error("late")`,
    })
    await call(harness, 5)
    expect(harness.versionOf("alpha")).toBe("1.0.0")
  })

  test("that rejects requests on purpose does nothing wrong", async () => {
    await using harness = await replaced(REFUSES)
    await call(harness, 10)
    expect(harness.versionOf("alpha")).toBe("2.0.0")
    await harness.heard("alpha gone 1")
  })

  test("that times out is taken back", async () => {
    await using harness = new Harness({ probation: RULE })
    harness.entries.alpha = { timeoutMs: 5 }
    harness.write("a.ts", versionText("1.0.0"))
    await harness.registry.loadAll()
    await save(harness, "2.0.0", { body: "return new Promise(() => {})" })
    await call(harness, 2)
    expect(harness.versionOf("alpha")).toBe("1.0.0")
  })

  test("that throws when nobody calls it is taken back", async () => {
    await using harness = await replaced({ setup: `setInterval(() => { throw new Error("tick") }, 1)` })
    await waitFor("the version before to serve again", () => harness.versionOf("alpha") === "1.0.0")
    expect(harness.errorOf("alpha")).toContain("Last: outside a call: tick")
  })

  test("of settings alone is on probation too", async () => {
    await using harness = new Harness({ probation: RULE })
    const more = `config: Type.Object({ bad: Type.Boolean({ default: false }) }),`
    const text = pluginText({
      name: "alpha",
      type: "middleware",
      more,
      abilities: `beforeHandle() { if (config.bad) throw new Error("bad") }`,
    })
    harness.write("a.ts", text)
    await harness.registry.loadAll()
    harness.entries.alpha = { config: { bad: true } }
    await harness.registry.applyEntries()
    await call(harness, 2)
    expect(harness.errorOf("alpha")).toContain("version 1.0.0 failed 2 of 2 calls")
    const generation = harness.registry.current.generation
    await harness.registry.applyEntries()
    await harness.registry.sync()
    expect(harness.registry.current.generation).toBe(generation)
    await call(harness, 3)
    expect(harness.registry.getInfo("alpha").metrics.errors).toBe(2)
  })
})

describe("what was taken back", () => {
  test("stays away until its file changes", async () => {
    await using harness = await replaced(FAILS)
    await call(harness, 2)
    await harness.registry.sync()
    await harness.registry.sync()
    expect(harness.versionOf("alpha")).toBe("1.0.0")
    await save(harness, "3.0.0")
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      version: "3.0.0",
      serves_previous: false,
      previous_version: "1.0.0",
      error: null,
    })
  })

  test("comes again where a reload is asked for", async () => {
    await using harness = await replaced(FAILS)
    await call(harness, 2)
    await harness.registry.reload("alpha")
    expect(harness.versionOf("alpha")).toBe("2.0.0")
    await call(harness, 2)
    expect(harness.versionOf("alpha")).toBe("1.0.0")
  })

  test("leaves the old code in service when the settings change", async () => {
    await using harness = await replaced(FAILS)
    await call(harness, 2)
    harness.entries.alpha = { priority: 90 }
    await harness.registry.applyEntries()
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      version: "1.0.0",
      priority: 90,
      serves_previous: true,
    })
  })

  test("ends the calls that it has begun", async () => {
    await using harness = new Harness({ probation: RULE })
    harness.write("a.ts", versionText("1.0.0"))
    await harness.registry.loadAll()
    await save(harness, "2.0.0", FAILS)
    const pinned = harness.registry.pin()
    await call(harness, 2)
    expect(harness.versionOf("alpha")).toBe("1.0.0")
    expect(pinned.instances[0]?.version).toBe("2.0.0")
    expect(pinned.instances[0]?.run(() => "still works")).toBe("still works")
    await call(harness, 3, pinned)
    expect(harness.said).not.toContain("alpha gone 2")
    pinned.release()
    await harness.heard("alpha gone 2")
    expect(harness.versionOf("alpha")).toBe("1.0.0")
  })
})

describe("the last good version", () => {
  test("is what is gone back to from a third one, where the second has not proved itself", async () => {
    await using harness = await replaced({})
    await save(harness, "3.0.0", FAILS)
    await harness.heard("alpha gone 2")
    expect(harness.said).not.toContain("alpha gone 1")
    await call(harness, 2)
    expect(harness.versionOf("alpha")).toBe("1.0.0")
  })

  test("is the second one, once it has passed", async () => {
    await using harness = await replaced({})
    await call(harness, RULE.calls)
    await harness.heard("alpha gone 1")
    await save(harness, "3.0.0", FAILS)
    await call(harness, 2)
    expect(harness.versionOf("alpha")).toBe("2.0.0")
  })

  test("stays it through reloads that change nothing", async () => {
    await using harness = await replaced(FAILS)
    await harness.registry.reload("alpha")
    await harness.registry.reload("alpha")
    await call(harness, 2)
    expect(harness.versionOf("alpha")).toBe("1.0.0")
  })

  test("is not taken where it is not what another plugin needs by now", async () => {
    await using harness = await replaced(FAILS)
    harness.write("b.ts", pluginText({ name: "beta", more: `dependencies: { alpha: "^2.0.0" },` }))
    await harness.registry.sync()
    await call(harness, 2)
    expect(harness.versionOf("alpha")).toBe("2.0.0")
    expect(harness.stateOf("beta")).toBe("active")
    await harness.heard("alpha gone 1")
    expect(harness.log).toContainEqual(
      expect.objectContaining({ message: "a plugin cannot be rolled back; its new version serves on" }),
    )
  })
})

describe("what is held goes", () => {
  test.each([
    ["when the plugin is switched off", (harness: Harness) => void harness.registry.disable("alpha")],
    ["when it is unregistered", (harness: Harness) => harness.registry.unregister("alpha")],
    ["when the gateway stops", (harness: Harness) => harness.registry.shutdownAll()],
    [
      "when its file is deleted",
      async (harness: Harness) => {
        harness.delete("a.ts")
        await harness.registry.sync()
      },
    ],
  ])("%s", async (_, act) => {
    const harness = await replaced({})
    await act(harness)
    await harness.heard("alpha gone 1")
    await harness.heard("alpha gone 2")
    await harness.registry.shutdownAll()
  })

  test("when its plugin is stopped with what it needs", async () => {
    await using harness = new Harness({ probation: RULE })
    const more = `dependencies: { base: "*" },`
    harness.write("base.ts", pluginText({ name: "base" }))
    harness.write("a.ts", versionText("1.0.0", { more }))
    await harness.registry.loadAll()
    await save(harness, "2.0.0", { more })
    harness.registry.disable("base", { force: true })
    await harness.heard("alpha gone 1")
    await harness.heard("alpha gone 2")
  })
})

describe("without probation", () => {
  test("a new version is on its own at once", async () => {
    await using harness = new Harness({ probation: RULE })
    harness.entries.alpha = { probation: false }
    harness.write("a.ts", versionText("1.0.0"))
    await harness.registry.loadAll()
    await save(harness, "2.0.0", FAILS)
    await harness.heard("alpha gone 1")
    await call(harness, 10)
    expect(harness.versionOf("alpha")).toBe("2.0.0")
  })

  test("a plugin's own rule wins over the one for all", async () => {
    await using harness = new Harness({ probation: RULE })
    harness.entries.alpha = { probation: { calls: 10, maxErrors: 3 } }
    harness.write("a.ts", versionText("1.0.0"))
    await harness.registry.loadAll()
    await save(harness, "2.0.0", FAILS)
    await call(harness, 3)
    expect(harness.versionOf("alpha")).toBe("2.0.0")
    await call(harness, 1)
    expect(harness.versionOf("alpha")).toBe("1.0.0")
  })
})

test("on_error: disable takes a version on probation back, and one that is on its own out of service", async () => {
  await using harness = new Harness({ probation: RULE })
  harness.entries.alpha = { onError: "disable" }
  harness.write("a.ts", versionText("1.0.0", FAILS))
  await harness.registry.loadAll()
  await save(harness, "2.0.0", FAILS)
  await call(harness, 1)
  expect(harness.registry.getInfo("alpha")).toMatchObject({ state: "active", version: "1.0.0" })
  await call(harness, 1)
  expect(harness.registry.getInfo("alpha")).toMatchObject({ state: "inactive", enabled: false })
})

test("metrics are told by version, and those of a version that is gone go with it", async () => {
  await using harness = await replaced({})
  await call(harness, 2)
  expect(metric(harness, "gateway.plugin.calls", "alpha", "1.0.0", "stable")).toBe(0)
  expect(metric(harness, "gateway.plugin.calls", "alpha", "2.0.0", "stable")).toBe(2)
  expect(metric(harness, "gateway.plugin.info", "alpha", "1.0.0", "middleware")).toBeUndefined()
  await call(harness, RULE.calls)
  await harness.heard("alpha gone 1")
  expect(metric(harness, "gateway.plugin.calls", "alpha", "1.0.0", "stable")).toBeUndefined()
  expect(harness.registry.getInfo("alpha").metrics.calls).toBe(7)
})
