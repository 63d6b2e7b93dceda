import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { LoadReport } from "../../src/plugin/catalogue.ts"
import type { MonitoringAbilities } from "../../src/plugin/contract.ts"
import { createCacheHost } from "../../src/plugin/module-host.ts"
import { waitFor, within } from "../support/wait.ts"
import { Gate, Harness, pluginText } from "./fixtures.ts"

/** A harness with one plugin, `alpha` 1.0.0 in `a.ts`. */
async function loaded(text: Partial<Parameters<typeof pluginText>[0]> = {}, options = {}): Promise<Harness> {
  const harness = new Harness(options)
  harness.write("a.ts", pluginText({ name: "alpha", ...text }))
  await harness.registry.loadAll()
  return harness
}

describe("a save, or a look at the directory,", () => {
  test("brings the new code into service and disposes the old", async () => {
    await using harness = await loaded()
    harness.write("a.ts", pluginText({ name: "alpha", version: "2.0.0" }))
    await harness.registry.sync()
    await harness.heard("alpha gone 1")
    expect(harness.said).toEqual(["alpha up 1", "alpha up 2", "alpha gone 1"])
    expect(harness.registry.getInfo("alpha")).toMatchObject({ version: "2.0.0", generation: 2 })
    expect(harness.events.map(({ change, version }) => `${change} ${version}`)).toEqual([
      "loaded 1.0.0",
      "reloaded 2.0.0",
    ])
  })

  test("works for a plugin whose name is not its file's", async () => {
    await using harness = new Harness()
    harness.write("example_provider.ts", pluginText({ name: "other-name" }))
    harness.write("example.ts", pluginText({ name: "example" }))
    await harness.registry.loadAll()
    harness.write("example_provider.ts", pluginText({ name: "other-name", version: "1.1.0" }))
    await harness.registry.sync()
    expect(harness.versionOf("other-name")).toBe("1.1.0")
    expect(harness.said.filter((text) => text.startsWith("example "))).toEqual(["example up 1"])
  })

  test("of the same content does nothing", async () => {
    await using harness = await loaded()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    await harness.registry.sync()
    expect(harness.registry.current.generation).toBe(1)
  })

  test("of the same content is a reload where the admin asks for one", async () => {
    await using harness = await loaded()
    await harness.registry.reload("alpha")
    expect(harness.said).toContain("alpha gone 1")
    expect(harness.registry.current.generation).toBe(2)
  })

  test("of a helper file reloads the plugin that imports it, and no other", async () => {
    await using harness = new Harness()
    harness.write("_greeting.ts", "export const greeting = 'hello'")
    const top = `import { greeting } from "./_greeting.ts"`
    harness.write("a.ts", pluginText({ name: "a", top, setup: "say(greeting)" }))
    harness.write("b.ts", pluginText({ name: "b" }))
    await harness.registry.loadAll()
    harness.write("_greeting.ts", "export const greeting = 'goodbye'")
    await harness.registry.sync()
    expect(harness.said).toContain("goodbye 0")
    expect(harness.said.filter((text) => text === "b up 1")).toHaveLength(1)
  })

  test("of a file that a folder plugin imports reloads the folder plugin", async () => {
    await using harness = new Harness()
    harness.write("folder/lib/data.json", `{ "size": 1 }`)
    const top = `import data from "./lib/data.json"`
    harness.write("folder/index.ts", pluginText({ name: "f", top, setup: `say("size", data.size)` }))
    await harness.registry.loadAll()
    harness.write("folder/lib/data.json", `{ "size": 2 }`)
    await harness.registry.sync()
    expect(harness.said).toContain("size 2")
  })

  test("that renames the plugin takes the old name away and gives the new one", async () => {
    await using harness = await loaded()
    harness.write("a.ts", pluginText({ name: "omega" }))
    await harness.registry.sync()
    expect(() => harness.registry.getInfo("alpha")).toThrow("no plugin is called")
    expect(harness.stateOf("omega")).toBe("active")
    expect(harness.snapshots.map(({ instances }) => instances.map(({ name }) => name))).toEqual([
      ["alpha"],
      ["omega"],
    ])
    expect(harness.events.map(({ plugin, change }) => `${plugin} ${change}`)).toEqual([
      "alpha loaded",
      "alpha unloaded",
      "omega loaded",
    ])
  })

  test("that renames the plugin to a name that is taken leaves the old one serving", async () => {
    await using harness = await loaded()
    harness.write("b.ts", pluginText({ name: "beta" }))
    await harness.registry.sync()
    harness.write("a.ts", pluginText({ name: "beta", version: "9.0.0" }))
    await harness.registry.sync()
    expect(harness.versionOf("beta")).toBe("1.0.0")
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      state: "active",
      error: { code: "plugin_conflict" },
    })
  })

  test("during a setup that hangs ends that setup: the next version does not wait for it", async () => {
    await using harness = await loaded()
    using gate = new Gate()
    harness.write(
      "a.ts",
      pluginText({ name: "alpha", version: "2.0.0", setup: `say("hangs"); await ${gate.wait}` }),
    )
    const hanging = harness.registry.sync()
    await harness.heard("hangs 0")
    harness.write("a.ts", pluginText({ name: "alpha", version: "3.0.0" }))
    await within("the third version", harness.registry.sync())
    await hanging
    expect(harness.versionOf("alpha")).toBe("3.0.0")
    expect(harness.said).not.toContain("alpha up 2")
  })

  test("does not disturb a plugin that is being loaded, however often the directory is looked at", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "alpha" }))
    let report: LoadReport | undefined
    const loading = harness.registry.loadAll().then((loaded) => {
      report = loaded
    })
    const looks: Promise<void>[] = []
    while (report === undefined) {
      looks.push(harness.registry.sync())
      await Bun.sleep(0)
    }
    await Promise.all([loading, ...looks])
    expect(report.active).toEqual(["alpha"])
    expect(harness.said).toEqual(["alpha up 1"])
  })

  test("of many files at once is seen whole", async () => {
    await using harness = new Harness()
    const names = Array.from({ length: 20 }, (_, index) => `p${index}`)
    for (const name of names) harness.write(`${name}.ts`, pluginText({ name }))
    await harness.registry.loadAll()
    for (const name of names) harness.write(`${name}.ts`, pluginText({ name, version: "2.0.0" }))
    await Promise.all([harness.registry.sync(), harness.registry.sync(), harness.registry.sync()])
    expect(names.map((name) => harness.versionOf(name))).toEqual(names.map(() => "2.0.0"))
    expect(harness.said.filter((text) => text.endsWith("up 2"))).toHaveLength(20)
  })
})

describe("a reload that fails leaves the old version serving, and tells why:", () => {
  const BROKEN = {
    "a syntax error": "export default definePlugin({\n  name: ,\n})",
    "a throw when it is imported": `throw new Error("no")`,
    "a throw in setup": pluginText({ name: "alpha", version: "2.0.0", setup: `throw new Error("no")` }),
    "a wrong shape": `export default { name: "alpha" }`,
    "a misspelt hook": pluginText({
      name: "alpha",
      version: "2.0.0",
      abilities: "hooks: { onRequets() {} }",
    }),
    "a setup that never settles": pluginText({
      name: "alpha",
      version: "2.0.0",
      setup: "await new Promise(() => {})",
    }),
  }

  test.each(Object.entries(BROKEN))("%s", async (_, text) => {
    await using harness = await loaded({}, { setupTimeoutMs: 50 })
    harness.write("a.ts", text)
    await harness.registry.sync()
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      state: "active",
      version: "1.0.0",
      generation: 1,
    })
    expect(harness.errorOf("alpha")).not.toBe("")
    await expect(harness.registry.reload("alpha")).rejects.toThrow(harness.errorOf("alpha"))
    expect(harness.said).not.toContain("alpha gone 1")

    harness.write("a.ts", pluginText({ name: "alpha", version: "3.0.0" }))
    await harness.registry.sync()
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      state: "active",
      version: "3.0.0",
      error: null,
    })
  })

  test("and says so in the log once, however often the directory is looked at", async () => {
    await using harness = await loaded()
    harness.write("a.ts", "export default {{")
    for (let look = 0; look < 3; look++) await harness.registry.sync()
    const lines = harness.log.filter(
      ({ message }) => message === "a plugin was not reloaded; its last version serves on",
    )
    expect(lines).toHaveLength(1)
    expect(JSON.stringify(lines[0])).toContain("a.ts:1:17")
  })

  test("also when the helper file it needs is gone, until that is back", async () => {
    await using harness = new Harness()
    harness.write("_h.ts", "export const h = 1")
    harness.write(
      "a.ts",
      pluginText({ name: "alpha", top: `import { h } from "./_h.ts"`, setup: `say("h", h)` }),
    )
    await harness.registry.loadAll()
    harness.delete("_h.ts")
    await harness.registry.sync()
    expect(harness.registry.getInfo("alpha")).toMatchObject({ state: "active" })
    expect(harness.errorOf("alpha")).toContain('Could not resolve: "./_h.ts"')
    harness.write("_h.ts", "export const h = 2")
    await harness.registry.sync()
    expect(harness.said).toContain("h 2")
    expect(harness.errorOf("alpha")).toBe("")
  })

  test("and errors of the old version still name its own lines", async () => {
    const old = pluginText({ name: "alpha", abilities: `export() { throw new Error("here") }` })
    const line = 1 + old.split("\n").findIndex((text) => text.includes("export()"))
    await using harness = new Harness()
    harness.write("a.ts", old)
    await harness.registry.loadAll()
    const broken = pluginText({ name: "alpha", setup: `throw new Error("no")` })
    harness.write("a.ts", `// one\n// more\n// line\n${broken}`)
    await harness.registry.sync()
    const abilities = harness.registry.get("alpha")?.abilities as MonitoringAbilities
    const thrown = await Promise.try(() => abilities.export?.()).catch((error: unknown) => error)
    expect((thrown as Error).stack).toContain(`a.ts:${line}:`)
  })
})

describe("a deletion", () => {
  test("takes the plugin out of service", async () => {
    await using harness = await loaded()
    harness.delete("a.ts")
    await harness.registry.sync()
    await harness.heard("alpha gone 1")
    expect(harness.registry.list()).toEqual([])
    expect(harness.events.at(-1)?.change).toBe("unloaded")
  })

  test("of a whole folder takes its plugin out", async () => {
    await using harness = new Harness()
    harness.write("group/one/index.ts", pluginText({ name: "one" }))
    harness.write("group/two.ts", pluginText({ name: "two" }))
    await harness.registry.loadAll()
    harness.delete("group")
    await harness.registry.sync()
    expect(harness.registry.list()).toEqual([])
  })

  test("of a broken file takes its error away", async () => {
    await using harness = new Harness()
    harness.write("a.ts", "export default {{")
    await harness.registry.loadAll()
    harness.delete("a.ts")
    await harness.registry.sync()
    expect(harness.registry.list()).toEqual([])
  })
})

describe("requests in flight", () => {
  test("keep the version they began with until they are done", async () => {
    await using harness = await loaded()
    const pinned = harness.registry.pin()
    await harness.registry.reload("alpha")
    await harness.registry.reload("alpha")
    // The second version was never pinned, so it goes; the first one stays.
    await harness.heard("alpha gone 1")
    expect(harness.said.filter((text) => text === "alpha gone 1")).toHaveLength(1)
    expect(pinned.instances[0]?.run(() => "still works")).toBe("still works")
    pinned.release()
    await waitFor(
      "the first version to go",
      () => harness.said.filter((text) => text === "alpha gone 1").length === 2,
    )
  })

  test("keep every snapshot's instances that are shared with later ones", async () => {
    await using harness = await loaded()
    const first = harness.registry.pin()
    harness.write("b.ts", pluginText({ name: "beta" }))
    await harness.registry.sync()
    const second = harness.registry.pin()
    harness.registry.disable("alpha")
    first.release()
    await settled()
    expect(harness.said).not.toContain("alpha gone 1")
    second.release()
    await harness.heard("alpha gone 1")
  })

  test("are cut at the drain timeout: they are told, and the plugin goes", async () => {
    await using harness = await loaded({}, { drainTimeoutMs: 30 })
    const pinned = harness.registry.pin()
    const [instance] = pinned.instances
    if (instance === undefined) throw new Error("nothing was loaded")
    const gone = Promise.withResolvers<Error>()
    instance.onGone(gone.resolve)
    harness.registry.disable("alpha")
    expect((await within("the drain timeout", gone.promise)).message).toContain(
      'plugin "alpha" 1.0.0 was taken out of service during the call',
    )
    expect(harness.said).toContain("alpha gone 1")
    expect(() => instance.run(() => 1)).toThrow("was taken out of service")
    expect(harness.log).toContainEqual(
      expect.objectContaining({
        level: "warn",
        message: "a superseded plugin was still in use at its drain timeout",
      }),
    )
    pinned.release()
  })

  test("that are told no more do not hear of it", async () => {
    await using harness = await loaded()
    const [instance] = harness.registry.current.instances
    let isTold = false
    instance?.onGone(() => {
      isTold = true
    })()
    harness.registry.disable("alpha")
    await instance?.dispose()
    expect(isTold).toBe(false)
    const late = Promise.withResolvers<Error>()
    instance?.onGone(late.resolve)
    expect((await late.promise).message).toContain("was taken out of service")
  })
})

describe("what a version leaves behind when it goes:", () => {
  test("its timers stop", async () => {
    await using harness = await loaded({ setup: `setInterval(() => say("tick"), 1)` })
    await harness.heard("tick 0")
    harness.registry.disable("alpha")
    await harness.heard("alpha gone 1")
    const ticks = () => harness.said.filter((text) => text === "tick 0").length
    const counted = ticks()
    await settled()
    expect(ticks()).toBe(counted)
  })

  test("its signal aborts, then shutdown runs, then the clean-ups from the newest to the oldest", async () => {
    await using harness = await loaded({
      setup: `signal.addEventListener("abort", () => say("aborted"))
        onDispose(() => say("first"))
        onDispose(async () => { await Promise.resolve(); say("second") })`,
      abilities: `shutdown() { say("shutdown") }`,
    })
    harness.registry.disable("alpha")
    await harness.heard("first 0")
    expect(harness.said).toEqual([
      "alpha up 1",
      "aborted 0",
      "shutdown 0",
      "alpha gone 1",
      "second 0",
      "first 0",
    ])
  })

  test("a clean-up that throws or hangs stops no other", async () => {
    await using harness = await loaded(
      {
        setup: `onDispose(() => say("last"))
          onDispose(() => { throw new Error("broken") })
          onDispose(() => new Promise(() => {}))`,
      },
      { setupTimeoutMs: 30 },
    )
    harness.registry.disable("alpha")
    await harness.heard("last 0")
    const failures = harness.log.filter(({ message }) => message === "the clean-up of a plugin failed")
    expect(failures).toHaveLength(2)
  })

  test("a clean-up that is registered too late, by a setup that was cut, runs all the same", async () => {
    // Only without module graphs: with one, a setup that was cut goes no further.
    await using harness = new Harness({ moduleHost: createCacheHost(), setupTimeoutMs: 30 })
    using gate = new Gate()
    const setup = `await ${gate.wait}; onDispose(() => say("cleaned late"))`
    harness.write("a.ts", pluginText({ name: "alpha", setup }))
    await harness.registry.loadAll()
    expect(harness.stateOf("alpha")).toBe("error")
    gate.open()
    await harness.heard("cleaned late 0")
  })

  test("its servers close", async () => {
    await using harness = await loaded({
      setup: `const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hi") })
        say("port", server.port)`,
    })
    const port = harness.said[0]?.split(" ")[1]
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("hi")
    harness.registry.disable("alpha")
    await waitFor("the server to be closed", () =>
      fetch(`http://127.0.0.1:${port}/`).then(
        () => false,
        () => true,
      ),
    )
  })

  test("its hooks run once after any number of reloads", async () => {
    await using harness = await loaded({ abilities: `hooks: { onResponse() {} }` })
    for (let round = 0; round < 5; round++) await harness.registry.reload("alpha")
    expect(harness.registry.current.hooks.onResponse).toHaveLength(1)
  })
})

test("operations on one plugin come one after another, and the last one asked for wins", async () => {
  await using harness = await loaded()
  const reloads: Promise<unknown>[] = []
  for (let version = 2; version <= 6; version++) {
    writeFileSync(join(harness.directory, "a.ts"), pluginText({ name: "alpha", version: `${version}.0.0` }))
    reloads.push(harness.registry.reload("alpha"))
  }
  await Promise.all(reloads)
  expect(harness.versionOf("alpha")).toBe("6.0.0")
  expect(harness.registry.current.instances).toHaveLength(1)
})

test("300 reloads of a plugin of 20 KB do not let the memory grow", async () => {
  await using harness = new Harness()
  const filler = Array.from(
    { length: 200 },
    (_, index) => `export function f${index}(x: number) { return x * ${index} + "${"x".repeat(60)}".length }`,
  )
  const text = (round: number) => {
    const functions = filler.map((_, index) => `f${index}`).join(", ")
    return pluginText({
      name: "big",
      top: `${filler.join("\n")}\nconst all = [${functions}]`,
      setup: `all[0]!(${round})`,
    })
  }
  const reload = async (round: number) => {
    harness.write("a.ts", text(round))
    await harness.registry.sync()
    // They would keep their instances.
    harness.snapshots.length = 0
  }
  for (let round = 0; round < 50; round++) await reload(round)
  Bun.gc(true)
  const before = process.memoryUsage().rss
  for (let round = 50; round < 350; round++) await reload(round)
  Bun.gc(true)
  expect(harness.registry.current.generation).toBe(350)
  expect((process.memoryUsage().rss - before) / 2 ** 20).toBeLessThan(25)
}, 60_000)

test("without module graphs, plugins are loaded, reloaded and taken out all the same", async () => {
  await using harness = await loaded({}, { moduleHost: createCacheHost() })
  harness.write("a.ts", pluginText({ name: "alpha", version: "2.0.0" }))
  await harness.registry.sync()
  await harness.heard("alpha gone 1")
  harness.write("a.ts", pluginText({ name: "alpha", version: "3.0.0", setup: `throw new Error("no")` }))
  await harness.registry.sync()
  expect(harness.versionOf("alpha")).toBe("2.0.0")
  await harness.registry.unregister("alpha")
  await harness.heard("alpha gone 2")
})

/** Timers of a millisecond that are alive have fired by then. */
async function settled(): Promise<void> {
  for (let round = 0; round < 10; round++) await Bun.sleep(1)
}
