import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import type { BundledPlugin } from "../../src/plugin/sources.ts"
import { waitFor } from "../support/wait.ts"
import { Gate, Harness, pluginText, temporaryDirectory } from "./fixtures.ts"

describe("registering", () => {
  test("sets the plugin up, wherever its file is, and says it is loaded", async () => {
    await using harness = new Harness()
    const file = join(temporaryDirectory(), "far.ts")
    await Bun.write(file, pluginText({ name: "far" }))
    expect(await harness.registry.register(file)).toMatchObject({
      name: "far",
      state: "active",
      source: file,
    })
    expect(harness.said).toEqual(["far up 1"])
    expect(harness.events).toMatchObject([{ plugin: "far", change: "loaded", generation: 1 }])
    await harness.registry.sync()
    expect(harness.stateOf("far")).toBe("active")
  })

  test("the same file twice is refused", async () => {
    await using harness = new Harness()
    const file = harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    await expect(harness.registry.register(file)).rejects.toThrow('plugin already registered: "alpha"')
  })

  test("a name that is taken is refused, and nothing is kept of the second one", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    const file = join(temporaryDirectory(), "b.ts")
    await Bun.write(file, pluginText({ name: "alpha" }))
    await expect(harness.registry.register(file)).rejects.toThrow('plugin already registered: "alpha"')
    expect(harness.registry.list()).toHaveLength(1)
  })

  test("a path without a plugin is refused with what would be one", async () => {
    await using harness = new Harness()
    await expect(harness.registry.register("/nowhere.ts")).rejects.toThrow(
      "there is no plugin at /nowhere.ts",
    )
  })
})

describe("unregistering", () => {
  test("shuts the plugin down and forgets it", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha", abilities: `shutdown() { say("alpha shut down") }` }))
    await harness.registry.loadAll()
    await harness.registry.unregister("alpha")
    await harness.heard("alpha gone 1")
    expect(harness.said).toEqual(["alpha up 1", "alpha shut down 0", "alpha gone 1"])
    expect(() => harness.registry.getInfo("alpha")).toThrow('no plugin is called "alpha"')
    expect(harness.events.at(-1)).toMatchObject({ plugin: "alpha", change: "unloaded" })
  })

  test("leaves the file out until it changes", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    await harness.registry.unregister("alpha")
    await harness.registry.sync()
    expect(harness.registry.list()).toEqual([])
    harness.write("a.ts", pluginText({ name: "alpha", version: "2.0.0" }))
    await harness.registry.sync()
    expect(harness.versionOf("alpha")).toBe("2.0.0")
  })

  test("can be undone by registering the file", async () => {
    await using harness = new Harness()
    const file = harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    await harness.registry.unregister("alpha")
    await harness.registry.register(file)
    expect(harness.stateOf("alpha")).toBe("active")
  })

  test("forgets the plugin's counts and series", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    await harness.registry.unregister("alpha")
    const series = [...harness.metrics.families()].flatMap((family) => [...family.series.values()])
    expect(series.filter(({ values }) => values.includes("alpha"))).toEqual([])
  })
})

describe("switching off and on", () => {
  test("disposes the plugin and sets it up again", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    expect(harness.registry.disable("alpha")).toMatchObject({ state: "inactive", enabled: false })
    await harness.heard("alpha gone 1")
    expect(harness.registry.current.instances).toEqual([])
    expect(await harness.registry.enable("alpha")).toMatchObject({ state: "active", enabled: true })
    expect(harness.said).toEqual(["alpha up 1", "alpha gone 1", "alpha up 1"])
    expect(harness.events.map(({ change }) => change)).toEqual(["loaded", "disabled", "enabled"])
  })

  test("off, its hooks are in no snapshot any more, and on, they are there once", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha", abilities: "hooks: { onRequest() {} }" }))
    await harness.registry.loadAll()
    const hooks = () => harness.registry.current.hooks.onRequest.length
    expect(hooks()).toBe(1)
    harness.registry.disable("alpha")
    expect(hooks()).toBe(0)
    await harness.registry.enable("alpha")
    await harness.registry.reload("alpha")
    expect(hooks()).toBe(1)
  })

  test("off, it is not switched on by a reload, a change of its file or the regular look", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    harness.registry.disable("alpha")
    harness.write("a.ts", pluginText({ name: "alpha", version: "1.1.0" }))
    await harness.registry.sync()
    expect(await harness.registry.reload("alpha")).toMatchObject({ state: "inactive", version: "1.1.0" })
    expect(harness.registry.get("alpha")).toBeUndefined()
  })

  test("off, it stays off when its file goes and comes back", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    harness.registry.disable("alpha")
    harness.delete("a.ts")
    await harness.registry.sync()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.sync()
    expect(harness.registry.getInfo("alpha")).toMatchObject({ enabled: false, state: "loaded" })
  })

  test("with a reason shows it", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    harness.registry.disable("alpha", { reason: "onRequest failed: boom" })
    expect(harness.errorOf("alpha")).toBe("onRequest failed: boom")
    await harness.registry.enable("alpha")
    expect(harness.errorOf("alpha")).toBe("")
  })

  test("off, a plugin whose file is broken still shows its error", async () => {
    await using harness = new Harness()
    harness.write("a.ts", "export default {{")
    await harness.registry.loadAll()
    harness.registry.disable("a")
    expect(harness.registry.list()).toMatchObject([
      { name: "a", enabled: false, state: "error", error: { code: "plugin_load_failed" } },
    ])
  })

  test("by the configuration: such a plugin is read, but not set up", async () => {
    await using harness = new Harness()
    harness.entries.alpha = { enabled: false }
    harness.write("a.ts", pluginText({ name: "alpha", version: "1.2.3" }))
    expect((await harness.registry.loadAll()).disabled).toEqual(["alpha"])
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      version: "1.2.3",
      enabled: false,
      state: "loaded",
    })
    expect(harness.said).toEqual([])
  })

  test("on, a plugin whose loading failed is tried again", async () => {
    await using harness = new Harness()
    harness.entries.alpha = { config: { size: "x" } }
    harness.write(
      "a.ts",
      pluginText({ name: "alpha", more: "config: Type.Object({ size: Type.Integer() })," }),
    )
    await harness.registry.loadAll()
    expect(harness.stateOf("alpha")).toBe("error")
    await expect(harness.registry.enable("alpha")).rejects.toThrow("size must be an integer")
    expect(harness.stateOf("alpha")).toBe("error")
    harness.entries.alpha = { config: { size: 3 } }
    expect(await harness.registry.enable("alpha")).toMatchObject({ state: "active", error: null })
  })

  test("on, what is on already stays as it is", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    await harness.registry.enable("alpha")
    expect(harness.said).toEqual(["alpha up 1"])
    expect(harness.registry.current.generation).toBe(1)
  })

  test("off during its setup ends the setup", async () => {
    await using harness = new Harness()
    using gate = new Gate()
    const setup = `onDispose(() => say("cleaned")); say("waits"); await ${gate.wait}`
    harness.entries.alpha = { enabled: false }
    harness.write("a.ts", pluginText({ name: "alpha", setup }))
    await harness.registry.loadAll()
    const enabling = harness.registry.enable("alpha")
    await harness.heard("waits 0")
    harness.registry.disable("alpha")
    await expect(enabling).rejects.toThrow('loading plugin "alpha" was stopped: it was switched off')
    expect(harness.said).toEqual(["waits 0", "cleaned 0"])
    expect(harness.registry.getInfo("alpha")).toMatchObject({ state: "loaded", enabled: false, error: null })
  })

  test("off after an enable that has not started yet leaves it off", async () => {
    await using harness = new Harness()
    harness.entries.alpha = { enabled: false }
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    const enabling = harness.registry.enable("alpha")
    harness.registry.disable("alpha")
    await expect(enabling).rejects.toThrow("was stopped")
    expect(harness.stateOf("alpha")).toBe("loaded")
  })

  test("at the same time from many callers ends in one of the two states, with one instance at most", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    const calls = Array.from({ length: 20 }, (_, index) => {
      if (index % 3 === 0) return harness.registry.reload("alpha")
      if (index % 3 === 1) return Promise.resolve(harness.registry.disable("alpha"))
      return harness.registry.enable("alpha")
    })
    await Promise.allSettled(calls)
    await harness.registry.enable("alpha")
    const ups = () => harness.said.filter((text) => text === "alpha up 1").length
    const gones = () => harness.said.filter((text) => text === "alpha gone 1").length
    await waitFor("all others to be disposed", () => ups() - gones() === 1)
    expect(harness.registry.current.instances).toHaveLength(1)
  })
})

describe("a name that nobody has", () => {
  test.each(["enable", "disable", "reload", "unregister", "getInfo"] as const)(
    "is not found by %s",
    async (method) => {
      await using harness = new Harness()
      harness.write("a.ts", pluginText({ name: "rate-limiter" }))
      await harness.registry.loadAll()
      const call = async () => harness.registry[method]("rate-limitr")
      await expect(call()).rejects.toMatchObject({
        code: "plugin_not_found",
        status: 404,
        message: 'no plugin is called "rate-limitr"; did you mean "rate-limiter"?',
      })
    },
  )
})

describe("what is told about plugins", () => {
  test("is sorted by name", async () => {
    await using harness = new Harness()
    for (const name of ["c", "a", "b"]) harness.write(`${name}.ts`, pluginText({ name }))
    await harness.registry.loadAll()
    expect(harness.registry.list().map(({ name }) => name)).toEqual(["a", "b", "c"])
  })

  test("has the guide's fields in snake_case, and times as text", async () => {
    await using harness = new Harness()
    const more = `description: "Does it", metadata: { author: "me" },`
    harness.write(
      "a.ts",
      pluginText({ name: "alpha", type: "middleware", more, abilities: "priority: 80, beforeHandle() {}" }),
    )
    await harness.registry.loadAll()
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT/)
    harness.registry.get("alpha")?.stats.recordCall(4)
    harness.registry.get("alpha")?.stats.recordCall(2)
    harness.registry.get("alpha")?.stats.recordError("onRequest: late", "timeout")
    expect(JSON.parse(JSON.stringify(harness.registry.getInfo("alpha")))).toEqual({
      name: "alpha",
      version: "1.0.0",
      type: "middleware",
      description: "Does it",
      enabled: true,
      state: "active",
      loaded_at: time,
      last_used: time,
      metrics: {
        calls: 2,
        errors: 1,
        timeouts: 1,
        total_time_ms: 6,
        average_time_ms: 3,
        last_error: { message: "onRequest: late", at: time },
        last_call: time,
      },
      error: null,
      source: join(harness.directory, "a.ts"),
      bundled: false,
      integrity: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/), locked: null },
      generation: 1,
      priority: 80,
      previous_version: null,
      serves_previous: false,
      canary: null,
      metadata: { author: "me" },
      dependencies: {},
    })
  })

  test("does not count as a use of the plugin", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    harness.registry.get("alpha")
    harness.registry.list()
    expect(harness.registry.getInfo("alpha")).toMatchObject({ last_used: null, metrics: { calls: 0 } })
  })

  test("survives reloads: the counts belong to the name", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    harness.registry.get("alpha")?.stats.recordCall(1)
    await harness.registry.reload("alpha")
    harness.registry.get("alpha")?.stats.recordCall(1)
    expect(harness.registry.getInfo("alpha").metrics.calls).toBe(2)
  })

  test("is in the metrics too", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.loadAll()
    await harness.registry.reload("alpha")
    harness.registry.get("alpha")?.called("onRequest", 1)
    const valueIn = (name: string, ...labels: readonly string[]) => {
      const family = [...harness.metrics.families()].find((other) => other.name === name)
      const series = [...(family?.series.values() ?? [])].find(({ values }) => Bun.deepEquals(values, labels))
      return series !== undefined && "value" in series ? series.value : undefined
    }
    expect(valueIn("gateway.plugin.calls", "alpha", "1.0.0", "stable")).toBe(1)
    expect(valueIn("gateway.plugin.state", "alpha", "active")).toBe(1)
    expect(valueIn("gateway.plugin.state", "alpha", "error")).toBe(0)
    expect(valueIn("gateway.plugin.info", "alpha", "1.0.0", "monitoring")).toBe(1)
    expect(valueIn("gateway.plugin.reloads", "alpha", "success")).toBe(1)
    expect(valueIn("gateway.plugin.generation")).toBe(2)
  })
})

describe("settings from the configuration", () => {
  test("win over the plugin's own priority, and choose policy and deadline", async () => {
    await using harness = new Harness()
    harness.entries.alpha = { priority: 10, onError: "closed", timeoutMs: 700 }
    harness.write(
      "a.ts",
      pluginText({ name: "alpha", type: "middleware", abilities: "priority: 80, beforeHandle() {}" }),
    )
    await harness.registry.loadAll()
    expect(harness.registry.get("alpha")).toMatchObject({
      priority: 10,
      failurePolicy: "closed",
      timeoutMs: 700,
    })
  })

  test("have defaults by type: what guards or rewrites calls fails closed", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a", type: "auth", abilities: "authenticate() {}" }))
    harness.write(
      "t.ts",
      pluginText({ name: "t", type: "transform", abilities: "supportsFormat: () => true" }),
    )
    harness.write("m.ts", pluginText({ name: "m", type: "middleware", abilities: "beforeHandle() {}" }))
    await harness.registry.loadAll()
    const policyOf = (name: string) => harness.registry.get(name)?.failurePolicy
    expect(["a", "t", "m"].map(policyOf)).toEqual(["closed", "closed", "open"])
    expect(harness.registry.get("m")).toMatchObject({ priority: 50, timeoutMs: 5000 })
  })

  test("that change set the plugin up anew, and leave the others alone", async () => {
    await using harness = new Harness()
    const more = "config: Type.Object({ size: Type.Integer({ default: 1 }) }),"
    for (const name of ["a", "b"]) {
      harness.write(`${name}.ts`, pluginText({ name, more, setup: `say("${name} size", config.size)` }))
    }
    await harness.registry.loadAll()
    harness.entries.a = { config: { size: 5 } }
    await harness.registry.applyEntries()
    await harness.heard("a gone 1")
    expect(harness.said.filter((text) => text.includes("size")).sort()).toEqual([
      "a size 1",
      "a size 5",
      "b size 1",
    ])
    expect(harness.events.at(-1)).toMatchObject({ plugin: "a", change: "reloaded" })
  })

  test("that become wrong leave the old ones serving, and are tried again when they are mended", async () => {
    await using harness = new Harness()
    const more = "config: Type.Object({ size: Type.Integer({ default: 1 }) }),"
    harness.write("a.ts", pluginText({ name: "a", more, setup: `say("size", config.size)` }))
    await harness.registry.loadAll()
    harness.entries.a = { config: { size: "big" } }
    await harness.registry.applyEntries()
    expect(harness.registry.getInfo("a")).toMatchObject({
      state: "active",
      error: { code: "plugin_config_invalid" },
    })
    harness.entries.a = { config: { size: 9 } }
    await harness.registry.applyEntries()
    expect(harness.said).toContain("size 9")
    expect(harness.registry.getInfo("a").error).toBeNull()
  })

  test("switch plugins off and on", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a" }))
    await harness.registry.loadAll()
    harness.entries.a = { enabled: false }
    await harness.registry.applyEntries()
    expect(harness.stateOf("a")).toBe("inactive")
    harness.entries.a = { enabled: true }
    await harness.registry.applyEntries()
    expect(harness.stateOf("a")).toBe("active")
  })

  test("that say nothing new do not undo what the admin did; that say the same make the configuration rule again", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a" }))
    await harness.registry.loadAll()
    harness.registry.disable("a")
    harness.entries.a = { timeoutMs: 100 }
    await harness.registry.applyEntries()
    expect(harness.stateOf("a")).toBe("inactive")
    harness.entries.a = { enabled: false }
    await harness.registry.applyEntries()
    harness.entries.a = { enabled: true }
    await harness.registry.applyEntries()
    expect(harness.stateOf("a")).toBe("active")
  })

  test("that say nothing new change nothing", async () => {
    await using harness = new Harness()
    harness.entries.a = { config: {} }
    harness.write("a.ts", pluginText({ name: "a" }))
    await harness.registry.loadAll()
    await harness.registry.applyEntries()
    expect(harness.registry.current.generation).toBe(1)
  })
})

describe("bundled plugins", () => {
  const bundled = (
    harness: { say: string[] },
    name = "limiter",
    file = "/nowhere/limiter.ts",
  ): BundledPlugin => ({
    file,
    definition: {
      name,
      version: "1.0.0",
      type: "monitoring",
      setup({ onDispose }) {
        harness.say.push("bundled up")
        onDispose(() => void harness.say.push("bundled gone"))
        return {}
      },
    },
  })

  test("are known, and off unless the configuration says otherwise", async () => {
    const log = { say: [] as string[] }
    await using harness = new Harness({ bundled: [bundled(log), bundled(log, "other")] })
    harness.entries.other = { enabled: true }
    expect(await harness.registry.loadAll()).toMatchObject({ active: ["other"], disabled: ["limiter"] })
    expect(harness.registry.getInfo("limiter")).toMatchObject({ source: "bundled:limiter", state: "loaded" })
    expect(log.say).toEqual(["bundled up"])
  })

  test("are loaded where the directory is not to be", async () => {
    const log = { say: [] as string[] }
    await using harness = new Harness({ bundled: [bundled(log)] })
    harness.entries.limiter = {}
    harness.write("a.ts", pluginText({ name: "a" }))
    expect((await harness.registry.loadBundled()).active).toEqual(["limiter"])
    expect(harness.registry.list()).toHaveLength(1)
  })

  test("can be switched on, reloaded and off like others", async () => {
    const log = { say: [] as string[] }
    await using harness = new Harness({ bundled: [bundled(log)] })
    await harness.registry.loadAll()
    await harness.registry.enable("limiter")
    await harness.registry.reload("limiter")
    harness.registry.disable("limiter")
    await waitFor("both to go", () => log.say.filter((text) => text === "bundled gone").length === 2)
    expect(harness.stateOf("limiter")).toBe("inactive")
  })

  test("give way to a plugin of the directory with their name, and come back when that goes", async () => {
    const log = { say: [] as string[] }
    await using harness = new Harness({ bundled: [bundled(log)] })
    harness.entries.limiter = {}
    await harness.registry.loadAll()
    harness.write("mine.ts", pluginText({ name: "limiter", version: "2.0.0" }))
    await harness.registry.sync()
    expect(harness.versionOf("limiter")).toBe("2.0.0")
    expect(harness.registry.list()).toHaveLength(1)
    expect(harness.snapshots.map(({ instances }) => instances.length)).toEqual([1, 1])
    harness.delete("mine.ts")
    await harness.registry.sync()
    expect(harness.registry.getInfo("limiter")).toMatchObject({ version: "1.0.0", source: "bundled:limiter" })
    expect(harness.stateOf("limiter")).toBe("active")
  })

  test("are not set up at all where the directory has a plugin with their name from the start", async () => {
    const log = { say: [] as string[] }
    await using harness = new Harness({ bundled: [bundled(log)] })
    harness.write("mine.ts", pluginText({ name: "limiter", version: "2.0.0" }))
    expect((await harness.registry.loadAll()).active).toEqual(["limiter"])
    expect(log.say).toEqual([])
  })

  test("serve on when the directory's plugin with their name is broken", async () => {
    const log = { say: [] as string[] }
    await using harness = new Harness({ bundled: [bundled(log)] })
    harness.entries.limiter = {}
    await harness.registry.loadAll()
    harness.write("mine.ts", pluginText({ name: "limiter", setup: `throw new Error("broken")` }))
    await harness.registry.sync()
    expect(harness.registry.get("limiter")?.source).toBe("bundled:limiter")
    expect(
      harness.registry
        .list()
        .map(({ state }) => state)
        .sort(),
    ).toEqual(["active", "error"])
  })

  test("whose file lies in the directory are loaded from it, and are off all the same", async () => {
    const log = { say: [] as string[] }
    const directory = join(temporaryDirectory(), "plugins")
    const file = join(directory, "limiter.ts")
    await using harness = new Harness({ directory, bundled: [bundled(log, "limiter", file)] })
    harness.write("limiter.ts", pluginText({ name: "limiter" }))
    await harness.registry.loadAll()
    expect(harness.registry.list()).toMatchObject([{ source: file, enabled: false, state: "loaded" }])
    await harness.registry.enable("limiter")
    harness.write("limiter.ts", pluginText({ name: "limiter", version: "1.1.0" }))
    await harness.registry.sync()
    expect(harness.versionOf("limiter")).toBe("1.1.0")
  })

  test("that are off do not count towards the maximum", async () => {
    const log = { say: [] as string[] }
    await using harness = new Harness({ maxPlugins: 1, bundled: [bundled(log), bundled(log, "other")] })
    harness.write("a.ts", pluginText({ name: "a" }))
    expect(await harness.registry.loadAll()).toMatchObject({ active: ["a"], failed: [] })
  })
})

describe("shutting down", () => {
  test("goes against the order of dependencies, tries all, and logs what fails", async () => {
    await using harness = new Harness()
    const needs = (name: string) => `dependencies: { "${name}": "*" },`
    harness.write("c.ts", pluginText({ name: "c" }))
    harness.write(
      "a.ts",
      pluginText({ name: "a", more: needs("b"), abilities: `shutdown() { throw new Error("stuck") }` }),
    )
    harness.write("b.ts", pluginText({ name: "b", more: needs("c") }))
    await harness.registry.loadAll()
    await harness.registry.shutdownAll()
    expect(harness.said.filter((text) => text.includes("gone"))).toEqual(["a gone 1", "b gone 1", "c gone 1"])
    expect(harness.log).toContainEqual(
      expect.objectContaining({ level: "warn", message: "the shutdown of a plugin failed", plugin: "a" }),
    )
    expect(harness.registry.list()).toEqual([])
  })

  test("does not wait longer than the timeout for a plugin", async () => {
    const harness = new Harness({ setupTimeoutMs: 30 })
    harness.write("a.ts", pluginText({ name: "a", abilities: "shutdown: () => new Promise(() => {})" }))
    await harness.registry.loadAll()
    await harness.registry.shutdownAll()
    expect(harness.said).toContain("a gone 1")
  })

  test("ends setups that are under way", async () => {
    const harness = new Harness()
    using gate = new Gate()
    harness.write(
      "a.ts",
      pluginText({ name: "a", setup: `onDispose(() => say("cleaned")); say("waits"); await ${gate.wait}` }),
    )
    const loading = harness.registry.loadAll()
    await harness.heard("waits 0")
    await harness.registry.shutdownAll()
    await loading
    expect(harness.said).toEqual(["waits 0", "cleaned 0"])
    expect(harness.registry.current.instances).toEqual([])
  })

  test("refuses what is asked afterwards, and can be asked for twice", async () => {
    const harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a" }))
    await harness.registry.loadAll()
    await harness.registry.shutdownAll()
    await harness.registry.shutdownAll()
    await expect(harness.registry.enable("a")).rejects.toMatchObject({ code: "plugin_not_found" })
    await expect(harness.registry.sync()).rejects.toThrow("the gateway is stopping")
  })
})
