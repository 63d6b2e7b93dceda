import { describe, expect, test } from "bun:test"
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { within } from "../support/wait.ts"
import { Gate, Harness, pluginText, temporaryDirectory } from "./fixtures.ts"

describe("loading a directory", () => {
  test("makes every plugin in it active and reports them", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    harness.write("folder/index.ts", pluginText({ name: "beta" }))
    expect(await harness.registry.loadAll()).toEqual({ active: ["alpha", "beta"], disabled: [], failed: [] })
    expect(harness.events.map(({ plugin, change }) => `${plugin} ${change}`).sort()).toEqual([
      "alpha loaded",
      "beta loaded",
    ])
  })

  test("goes on after a bad file, and keeps that file's error", async () => {
    await using harness = new Harness()
    const bad = harness.write("a_bad.ts", "export default {\n  name: ,\n}")
    harness.write("group/good.ts", pluginText({ name: "good" }))
    const { active, failed } = await harness.registry.loadAll()
    expect(active).toEqual(["good"])
    expect(failed).toEqual([{ name: "a-bad", source: bad, message: expect.stringContaining(`${bad}:2:9: `) }])
    expect(harness.registry.getInfo("a-bad")).toMatchObject({
      state: "error",
      version: null,
      error: { code: "plugin_load_failed", details: { errors: [{ file: bad, line: 2, column: 9 }] } },
    })
  })

  test("that does not exist loads nothing, and says so", async () => {
    await using harness = new Harness()
    rmdirSync(harness.directory)
    expect((await harness.registry.loadAll()).active).toEqual([])
    expect(harness.log.map(({ message }) => message)).toContain("the plugin directory does not exist yet")
  })

  test("that cannot be read is an error that names it", async () => {
    const directory = join(temporaryDirectory(), "plugins")
    await using harness = new Harness({ directory })
    rmdirSync(directory)
    writeFileSync(directory, "a file in its place")
    await expect(harness.registry.loadAll()).rejects.toThrow(`cannot read the plugin directory ${directory}`)
  })

  test("sets up as many plugins at a time as allowed, and no more", async () => {
    await using harness = new Harness({ maxConcurrent: 3 })
    using gate = new Gate()
    for (const name of ["a", "b", "c", "d"]) {
      harness.write(`${name}.ts`, pluginText({ name, setup: `say("${name} waits"); await ${gate.wait}` }))
    }
    const loading = harness.registry.loadAll()
    for (const name of ["a", "b", "c"]) await harness.heard(`${name} waits 0`)
    expect(harness.said).toHaveLength(3)
    gate.open()
    expect((await loading).active).toEqual(["a", "b", "c", "d"])
  })

  test("does not wait for a slow setup before other plugins serve", async () => {
    await using harness = new Harness()
    using gate = new Gate()
    harness.write("slow.ts", pluginText({ name: "slow", setup: `await ${gate.wait}` }))
    harness.write("fast.ts", pluginText({ name: "fast" }))
    const loading = harness.registry.loadAll()
    await harness.heard("fast up 1")
    expect(harness.registry.get("fast")).toBeDefined()
    expect(harness.registry.get("slow")).toBeUndefined()
    expect(harness.registry.list().map(({ name }) => name)).toEqual(["fast"])
    gate.open()
    await loading
  })

  test("does not wait for an import that hangs before other plugins serve", async () => {
    await using harness = new Harness()
    using gate = new Gate()
    harness.write("hangs.ts", pluginText({ name: "hangs", top: `await ${gate.wait}` }))
    harness.write("fast.ts", pluginText({ name: "fast" }))
    const loading = harness.registry.loadAll()
    await harness.heard("fast up 1")
    gate.open()
    expect((await loading).active).toEqual(["fast", "hangs"])
  })

  test("loads no more than the maximum number of plugins", async () => {
    await using harness = new Harness({ maxPlugins: 2 })
    for (const name of ["a", "b", "c"]) harness.write(`${name}.ts`, pluginText({ name }))
    const { active, failed } = await harness.registry.loadAll()
    expect(active).toEqual(["a", "b"])
    expect(failed[0]?.message).toContain("maximum number of plugins reached (2)")
    await harness.registry.unregister("a")
    expect(harness.stateOf("c")).toBe("active")
  })
})

describe("a plugin that cannot be loaded", () => {
  async function errorOf(text: string, options: ConstructorParameters<typeof Harness>[0] = {}) {
    await using harness = new Harness(options)
    const file = harness.write("bad.ts", text)
    await within("the directory to be loaded", harness.registry.loadAll())
    const [info] = harness.registry.list()
    return { file, state: info?.state, ...info?.error }
  }

  test("because it throws when it is imported shows where", async () => {
    const { file, code, message, details } = await errorOf(
      `interface Unused { a: 1 }\nfunction open() {\n  throw new Error("no database")\n}\nopen()\nexport default {}`,
    )
    expect(code).toBe("plugin_load_failed")
    expect(message).toMatch(/bad\.ts:3:\d+: importing it failed: no database$/)
    expect(details).toMatchObject({ errors: [{ file, line: 3, message: "no database" }] })
  })

  test("because its import never ends is cut, and told to move that into setup", async () => {
    const { message } = await errorOf("await new Promise(() => {})\nexport default {}", {
      setupTimeoutMs: 50,
    })
    expect(message).toContain("did not finish within 50 ms; move what its top level awaits into setup")
  })

  test("because its setup never settles is cut, and the error names it and the likely cause", async () => {
    const { code, message } = await errorOf(
      pluginText({ name: "stuck", setup: "await new Promise(() => {})" }),
      { setupTimeoutMs: 50 },
    )
    expect(code).toBe("plugin_setup_failed")
    expect(message).toBe(
      'setup of plugin "stuck" did not finish within 50 ms; look for a promise that never settles, or raise plugins.timeout',
    )
  })

  test("because its setup throws shows where, also in a helper file", async () => {
    await using harness = new Harness()
    const helper = harness.write(
      "_helper.ts",
      "type A = 1\n\nexport function fail(): never {\n  throw new TypeError('bad')\n}",
    )
    harness.write(
      "a.ts",
      pluginText({ name: "a", top: `import { fail } from "./_helper.ts"`, setup: "fail()" }),
    )
    await harness.registry.loadAll()
    const { error } = harness.registry.getInfo("a")
    expect(error?.message).toMatch(/^setup of plugin "a" failed at .*_helper\.ts:4:\d+: bad$/)
    expect(error?.details).toMatchObject({ errors: [{ file: helper, line: 4, message: "bad" }] })
  })

  test("because it has the wrong shape is told what is wrong", async () => {
    expect((await errorOf(`export default { name: "x" }`)).message).toContain(
      "invalid plugin version: is missing",
    )
    expect((await errorOf("export const x = 1")).message).toContain("has no default export")
  })

  test("because of a misspelt hook is told the right one", async () => {
    const { code, message } = await errorOf(pluginText({ name: "a", abilities: "hooks: { onRespnse() {} }" }))
    expect(code).toBe("plugin_invalid")
    expect(message).toContain('unknown hook "onRespnse": did you mean "onResponse"?')
  })

  test("because it declares middleware without being one is an error, not a crash", async () => {
    expect((await errorOf(pluginText({ name: "a", type: "middleware" }))).message).toContain(
      "a middleware needs one of beforeHandle, afterHandle, onError, fetch or a hook",
    )
  })

  test("leaves nothing behind: its signal aborts and its clean-ups run", async () => {
    await using harness = new Harness()
    const setup = `signal.addEventListener("abort", () => say("aborted"))
      onDispose(() => say("cleaned"))
      throw new Error("too late")`
    harness.write("a.ts", pluginText({ name: "a", setup }))
    await harness.registry.loadAll()
    expect(harness.said).toEqual(["aborted 0", "cleaned 0"])
  })
})

describe("plugins with the same name", () => {
  test("in two files: the first one serves, the second one's error names both", async () => {
    await using harness = new Harness()
    const first = harness.write("a.ts", pluginText({ name: "twin", version: "1.0.0" }))
    const second = harness.write("b.ts", pluginText({ name: "twin", version: "2.0.0" }))
    await harness.registry.loadAll()
    expect(harness.versionOf("twin")).toBe("1.0.0")
    const { error, state } = harness.registry.list().find(({ source }) => source === second) ?? {}
    expect(state).toBe("error")
    expect(error?.code).toBe("plugin_conflict")
    expect(error?.message).toBe(
      `plugin already registered: "twin" in ${second} is also the name of the plugin in ${first}, which keeps it; rename one of them`,
    )
  })

  test("the second one is loaded when the first one's file goes", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "twin", version: "1.0.0" }))
    harness.write("b.ts", pluginText({ name: "twin", version: "2.0.0" }))
    await harness.registry.loadAll()
    harness.delete("a.ts")
    await harness.registry.sync()
    expect(harness.versionOf("twin")).toBe("2.0.0")
    expect(harness.registry.list()).toHaveLength(1)
  })

  test("the second one going does not touch the first one's counts", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "twin" }))
    harness.write("b.ts", pluginText({ name: "twin" }))
    await harness.registry.loadAll()
    harness.registry.get("twin")?.stats.recordCall(3)
    harness.delete("b.ts")
    await harness.registry.sync()
    expect(harness.registry.getInfo("twin").metrics.calls).toBe(1)
  })

  test("a file that is renamed keeps its plugin in service all the time", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "mover" }))
    await harness.registry.loadAll()
    harness.delete("a.ts")
    harness.write("b.ts", pluginText({ name: "mover" }))
    await harness.registry.sync()
    expect(harness.snapshots.map(({ instances }) => instances.length)).toEqual([1, 1])
    expect(harness.events.map(({ change }) => change)).toEqual(["loaded", "reloaded"])
    expect(harness.registry.getInfo("mover").source).toBe(join(harness.directory, "b.ts"))
  })
})

describe("what setup receives", () => {
  test("is the plugin's own configuration from the file, whoever was loaded last", async () => {
    await using harness = new Harness()
    for (const name of ["a", "b"]) {
      harness.entries[name] = { config: { size: name === "a" ? 1 : 2 } }
      const more = `config: Type.Object({ size: Type.Integer(), unit: Type.String({ default: "m" }) }),`
      harness.write(
        `${name}.ts`,
        pluginText({ name, more, setup: `say("${name} " + config.unit, config.size)` }),
      )
    }
    await harness.registry.loadAll()
    await harness.registry.reload("a")
    expect(harness.said.filter((text) => text.startsWith("a m") || text.startsWith("b m")).sort()).toEqual([
      "a m 1",
      "a m 1",
      "b m 2",
    ])
  })

  test("is refused to a plugin whose configuration is wrong, with the path in the file", async () => {
    await using harness = new Harness()
    harness.entries.a = { config: { max_requests: "x" } }
    harness.write(
      "a.ts",
      pluginText({ name: "a", more: "config: Type.Object({ max_requests: Type.Integer({ minimum: 1 }) })," }),
    )
    await harness.registry.loadAll()
    expect(harness.errorOf("a")).toBe('plugins.configs.a.config.max_requests must be an integer ≥ 1, got "x"')
  })

  test("includes state that is its own and outlives a reload", async () => {
    await using harness = new Harness()
    const setup = (name: string) => `say("${name} count", (await state.increment("count")).value)`
    for (const name of ["a", "b"]) harness.write(`${name}.ts`, pluginText({ name, setup: setup(name) }))
    await harness.registry.loadAll()
    await harness.registry.reload("a")
    expect(harness.said).toContain("a count 2")
    expect(harness.said).not.toContain("b count 2")
  })

  test("includes the directory, and a log that names the plugin", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a", setup: `log.info("here", { directory })` }))
    await harness.registry.loadAll()
    expect(harness.log).toContainEqual(
      expect.objectContaining({ level: "info", message: "here", plugin: "a", directory: harness.directory }),
    )
  })

  test("lets it raise cache events in its name", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a", setup: `emit.cacheEvent({ eventType: "hit", key: "k" })` }))
    await harness.registry.loadAll()
    expect(harness.cacheEvents).toEqual([
      { plugin: "a", eventType: "hit", key: "k", timestamp: expect.any(Number) },
    ])
  })
})

describe("errors after setup", () => {
  test("in a timer or a forgotten promise are logged and counted as the plugin's, and nothing dies", async () => {
    await using harness = new Harness()
    const setup = `setTimeout(() => { throw new Error("in a timer") }, 1)
      onDispose(() => {})
      setTimeout(() => void Promise.reject(new Error("forgotten")), 1)`
    const file = harness.write("a.ts", pluginText({ name: "a", setup }))
    await harness.registry.loadAll()
    const stats = harness.registry.get("a")?.stats
    await within(
      "both errors",
      until(() => stats?.errors === 2),
    )
    expect(stats?.lastError?.message).toMatch(/^outside a call: (in a timer|forgotten)$/)
    expect(harness.log).toContainEqual(
      expect.objectContaining({
        level: "error",
        message: "a plugin threw outside a call",
        plugin: "a",
        file,
      }),
    )
    expect(harness.stateOf("a")).toBe("active")
  })

  test("that come every millisecond do not flood the log", async () => {
    await using harness = new Harness()
    harness.write(
      "a.ts",
      pluginText({ name: "a", setup: `setInterval(() => { throw new Error("again") }, 1)` }),
    )
    await harness.registry.loadAll()
    const stats = harness.registry.get("a")?.stats
    await within(
      "many errors",
      until(() => (stats?.errors ?? 0) > 20),
    )
    const lines = harness.log.filter(({ message }) => message === "a plugin threw outside a call")
    expect(lines.length).toBeLessThan(3)
  })
})

test("plugins can use packages from a node_modules beside them", async () => {
  await using harness = new Harness()
  mkdirSync(join(harness.directory, "node_modules/tiny"), { recursive: true })
  harness.write("node_modules/tiny/package.json", `{ "name": "tiny", "main": "index.js" }`)
  harness.write("node_modules/tiny/index.js", "module.exports = { answer: 42 }")
  harness.write(
    "a.ts",
    pluginText({ name: "a", top: `import tiny from "tiny"`, setup: `say("tiny", tiny.answer)` }),
  )
  await harness.registry.loadAll()
  expect(harness.said).toContain("tiny 42")
})

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1)
}
