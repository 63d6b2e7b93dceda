import { describe, expect, test } from "bun:test"
import { Gate, Harness, pluginText } from "./fixtures.ts"

const needs = (dependencies: Readonly<Record<string, string>>) =>
  `dependencies: ${JSON.stringify(dependencies)},`

/** `outer` needs `middle`, which needs `base`; their files are in the opposite order. */
function writeChain(harness: Harness): void {
  harness.write("a.ts", pluginText({ name: "outer", more: needs({ middle: "^1.0.0" }) }))
  harness.write("b.ts", pluginText({ name: "middle", more: needs({ base: "^1.0.0" }) }))
  harness.write("c.ts", pluginText({ name: "base" }))
}

const ups = ({ said }: Harness) => said.filter((text) => text.includes(" up "))

describe("plugins that depend on others", () => {
  test("are set up after them, whatever their files are called", async () => {
    await using harness = new Harness()
    writeChain(harness)
    await harness.registry.loadAll()
    expect(ups(harness)).toEqual(["base up 1", "middle up 1", "outer up 1"])
  })

  test("are set up after those they only want to follow, where these are present", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "late", more: `loadAfter: ["early", "absent"],` }))
    harness.write("b.ts", pluginText({ name: "early" }))
    await harness.registry.loadAll()
    expect(ups(harness)).toEqual(["early up 1", "late up 1"])
  })

  test("may be told so by the configuration", async () => {
    await using harness = new Harness()
    harness.entries.first = { dependencies: ["second"] }
    harness.write("a.ts", pluginText({ name: "first" }))
    harness.write("b.ts", pluginText({ name: "second" }))
    await harness.registry.loadAll()
    expect(ups(harness)).toEqual(["second up 1", "first up 1"])
    expect(harness.registry.getInfo("first").dependencies).toEqual({ second: "*" })
  })

  test("may be told a range by the configuration, which wins over their own", async () => {
    await using harness = new Harness()
    harness.write("base.ts", pluginText({ name: "base", version: "1.5.0" }))
    harness.write("a.ts", pluginText({ name: "narrow", more: needs({ base: "^1.0.0" }) }))
    harness.write("b.ts", pluginText({ name: "wide", more: needs({ base: "^2.0.0" }) }))
    harness.write("c.ts", pluginText({ name: "named", more: needs({ base: "^2.0.0" }) }))
    harness.write("d.ts", pluginText({ name: "wrong" }))
    harness.entries.narrow = { dependencies: ["base@>=1.6.0"] }
    harness.entries.wide = { dependencies: ["base@^1.5.0 || ^2.0.0"] }
    harness.entries.named = { dependencies: ["base"] }
    harness.entries.wrong = { dependencies: ["base@newest"] }
    expect((await harness.registry.loadAll()).active).toEqual(["base", "wide"])
    expect(harness.errorOf("narrow")).toBe(
      'plugin "narrow" needs "base" >=1.6.0, which is loaded in version 1.5.0',
    )
    expect(harness.errorOf("named")).toContain('needs "base" ^2.0.0, which is loaded in version 1.5.0')
    expect(harness.errorOf("wrong")).toContain('needs "base" newest, which is no range of versions')
  })

  test("may be told by the configuration whom to follow", async () => {
    await using harness = new Harness()
    harness.entries.first = { loadAfter: ["second", "absent"] }
    harness.write("a.ts", pluginText({ name: "first" }))
    harness.write("b.ts", pluginText({ name: "second" }))
    await harness.registry.loadAll()
    expect(ups(harness)).toEqual(["second up 1", "first up 1"])
    expect(harness.registry.getInfo("first").dependencies).toEqual({})
  })

  test("are set up as many at a time as allowed, each level of a tree at once", async () => {
    await using harness = new Harness({ maxConcurrent: 3 })
    using leaves = new Gate()
    using root = new Gate()
    harness.write("root.ts", pluginText({ name: "root", setup: `say("root waits"); await ${root.wait}` }))
    for (const name of ["a", "b", "c", "d"]) {
      const setup = `say("${name} waits"); await ${leaves.wait}`
      harness.write(`${name}.ts`, pluginText({ name, more: needs({ root: "*" }), setup }))
    }
    const loading = harness.registry.loadAll()
    await harness.heard("root waits 0")
    expect(harness.said).toEqual(["root waits 0"])
    root.open()
    for (const name of ["a", "b", "c"]) await harness.heard(`${name} waits 0`)
    expect(harness.said).not.toContain("d waits 0")
    leaves.open()
    expect((await loading).active).toEqual(["a", "b", "c", "d", "root"])
  })

  test("wait for a slow one, while independent ones do not", async () => {
    await using harness = new Harness()
    using gate = new Gate()
    harness.write("a.ts", pluginText({ name: "needy", more: needs({ slow: "*" }) }))
    harness.write("b.ts", pluginText({ name: "slow", setup: `await ${gate.wait}` }))
    harness.write("c.ts", pluginText({ name: "free" }))
    const loading = harness.registry.loadAll()
    await harness.heard("free up 1")
    expect(ups(harness)).toEqual(["free up 1"])
    gate.open()
    await loading
    expect(ups(harness)).toEqual(["free up 1", "slow up 1", "needy up 1"])
  })
})

describe("a dependency that is not met is an error that says why:", () => {
  test("it is not there", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "x", more: needs({ y: "^1.2.0" }) }))
    await harness.registry.loadAll()
    expect(harness.registry.getInfo("x").error).toMatchObject({
      code: "plugin_dependency_failed",
      message: 'plugin "x" needs "y" ^1.2.0, which is not loaded; add it to the plugin directory',
    })
  })

  test("it has another version", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "x", more: needs({ y: "^1.2.0" }) }))
    harness.write("b.ts", pluginText({ name: "y", version: "1.1.0" }))
    await harness.registry.loadAll()
    expect(harness.errorOf("x")).toBe('plugin "x" needs "y" ^1.2.0, which is loaded in version 1.1.0')
  })

  test("it is disabled", async () => {
    await using harness = new Harness()
    harness.entries.y = { enabled: false }
    harness.write("a.ts", pluginText({ name: "x", more: needs({ y: "*" }) }))
    harness.write("b.ts", pluginText({ name: "y" }))
    await harness.registry.loadAll()
    expect(harness.errorOf("x")).toBe('plugin "x" needs "y", which is disabled; enable it first')
  })

  test("it failed itself", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "x", more: needs({ y: "*" }) }))
    harness.write("b.ts", pluginText({ name: "y", setup: `throw new Error("no disk")` }))
    await harness.registry.loadAll()
    expect(harness.errorOf("x")).toMatch(/^plugin "x" needs "y", which failed: .*no disk$/)
  })

  test("it needs this one too, through others", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a", more: needs({ b: "*" }) }))
    harness.write("b.ts", pluginText({ name: "b", more: needs({ c: "*" }) }))
    harness.write("c.ts", pluginText({ name: "c", more: needs({ a: "*" }) }))
    harness.write("d.ts", pluginText({ name: "d" }))
    expect((await harness.registry.loadAll()).active).toEqual(["d"])
    for (const name of ["a", "b", "c"]) {
      expect(harness.errorOf(name)).toMatch(
        /^plugins depend on each other: (a → b → c → a|b → c → a → b|c → a → b → c);/,
      )
    }
  })
})

test("a circle that the configuration closes is named too", async () => {
  await using harness = new Harness()
  harness.write("a.ts", pluginText({ name: "a", more: needs({ b: "*" }) }))
  harness.write("b.ts", pluginText({ name: "b" }))
  harness.entries.b = { dependencies: ["a"] }
  await harness.registry.loadAll()
  expect(harness.errorOf("a")).toMatch(/^plugins depend on each other: (a → b → a|b → a → b);/)
})

describe("a plugin that lacks another is loaded", () => {
  test("when that one's file appears", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "x", more: needs({ y: "*" }) }))
    await harness.registry.loadAll()
    harness.write("b.ts", pluginText({ name: "y" }))
    await harness.registry.sync()
    expect(ups(harness)).toEqual(["y up 1", "x up 1"])
    expect(harness.registry.getInfo("x")).toMatchObject({ state: "active", error: null })
  })

  test("when that one is enabled", async () => {
    await using harness = new Harness()
    harness.entries.y = { enabled: false }
    harness.write("a.ts", pluginText({ name: "x", more: needs({ y: "*" }) }))
    harness.write("b.ts", pluginText({ name: "y" }))
    await harness.registry.loadAll()
    await harness.registry.enable("y")
    expect(harness.stateOf("x")).toBe("active")
  })

  test("when a circle is broken", async () => {
    await using harness = new Harness()
    harness.write("a.ts", pluginText({ name: "a", more: needs({ b: "*" }) }))
    harness.write("b.ts", pluginText({ name: "b", more: needs({ a: "*" }) }))
    await harness.registry.loadAll()
    harness.write("b.ts", pluginText({ name: "b" }))
    await harness.registry.sync()
    expect(ups(harness)).toEqual(["b up 1", "a up 1"])
  })
})

describe("what others need", () => {
  test.each(["disable", "unregister"] as const)(
    "is not taken away by %s, which names them",
    async (method) => {
      await using harness = new Harness()
      writeChain(harness)
      await harness.registry.loadAll()
      const call = async () => harness.registry[method]("base")
      await expect(call()).rejects.toMatchObject({
        code: "plugin_conflict",
        status: 409,
        message: expect.stringContaining('plugin "base" is needed by "middle", "outer"'),
      })
      expect(harness.registry.current.instances).toHaveLength(3)
    },
  )

  test("takes them with it where it is forced to go: in one step, and disposed against the order", async () => {
    await using harness = new Harness()
    writeChain(harness)
    await harness.registry.loadAll()
    harness.registry.disable("base", { force: true })
    expect(harness.snapshots.map(({ instances }) => instances.length)).toEqual([1, 2, 3, 0])
    await harness.heard("base gone 1")
    expect(harness.said.slice(3)).toEqual(["outer gone 1", "middle gone 1", "base gone 1"])
    expect(harness.stateOf("base")).toBe("inactive")
    expect(harness.registry.getInfo("middle")).toMatchObject({
      state: "error",
      enabled: true,
      error: { message: 'plugin "middle" needs "base" ^1.0.0, which is disabled; enable it first' },
    })
  })

  test("brings them back when it comes back", async () => {
    await using harness = new Harness()
    writeChain(harness)
    await harness.registry.loadAll()
    harness.registry.disable("base", { force: true })
    await harness.registry.enable("base")
    const serving = harness.registry.current.instances.map(({ name }) => name)
    expect(serving.toSorted()).toEqual(["base", "middle", "outer"])
  })

  test("takes them with it when its file is deleted", async () => {
    await using harness = new Harness()
    writeChain(harness)
    await harness.registry.loadAll()
    harness.delete("c.ts")
    await harness.registry.sync()
    expect(harness.registry.current.instances).toEqual([])
    expect(harness.errorOf("middle")).toContain('needs "base" ^1.0.0, which is not loaded')
  })

  test("takes them with it when it is renamed in its file", async () => {
    await using harness = new Harness()
    writeChain(harness)
    await harness.registry.loadAll()
    harness.write("c.ts", pluginText({ name: "ground" }))
    await harness.registry.sync()
    expect(harness.registry.current.instances.map(({ name }) => name)).toEqual(["ground"])
    expect(harness.errorOf("middle")).toContain('needs "base" ^1.0.0, which is not loaded')
  })

  test("is not reloaded into a version that they cannot take", async () => {
    await using harness = new Harness()
    writeChain(harness)
    await harness.registry.loadAll()
    harness.write("c.ts", pluginText({ name: "base", version: "2.0.0" }))
    await harness.registry.sync()
    expect(harness.versionOf("base")).toBe("1.0.0")
    expect(harness.errorOf("base")).toContain(
      'plugin "base" 2.0.0 is not the version of "base" that plugin "middle" needs',
    )
  })

  test("is reloaded into such a version when they change with it", async () => {
    await using harness = new Harness()
    writeChain(harness)
    await harness.registry.loadAll()
    harness.write("c.ts", pluginText({ name: "base", version: "2.0.0" }))
    harness.write("b.ts", pluginText({ name: "middle", more: needs({ base: "^2.0.0" }) }))
    await harness.registry.sync()
    expect(harness.versionOf("base")).toBe("2.0.0")
    expect(harness.registry.list().map(({ state }) => state)).toEqual(["active", "active", "active"])
  })

  test("stops them where they turn out not to be able to follow", async () => {
    await using harness = new Harness()
    writeChain(harness)
    await harness.registry.loadAll()
    harness.write("c.ts", pluginText({ name: "base", version: "2.0.0" }))
    const more = needs({ base: "^2.0.0" })
    harness.write("b.ts", pluginText({ name: "middle", more, setup: `throw new Error("not ready for 2")` }))
    await harness.registry.sync()
    expect(harness.registry.current.instances.map(({ name, version }) => `${name} ${version}`)).toEqual([
      "base 2.0.0",
    ])
    expect(harness.errorOf("outer")).toContain('needs "middle" ^1.0.0, which failed')
  })
})

test("a plugin cannot be enabled while what it needs is disabled", async () => {
  await using harness = new Harness()
  harness.entries.x = { enabled: false }
  harness.entries.y = { enabled: false }
  harness.write("a.ts", pluginText({ name: "x", more: needs({ y: "*" }) }))
  harness.write("b.ts", pluginText({ name: "y" }))
  await harness.registry.loadAll()
  await expect(harness.registry.enable("x")).rejects.toMatchObject({
    code: "plugin_conflict",
    message: 'plugin "x" needs "y", which is disabled; enable it first',
  })
  expect(harness.registry.getInfo("x")).toMatchObject({ enabled: false, state: "loaded" })
})

test("a dependency that goes during a setup makes the setup fail", async () => {
  await using harness = new Harness()
  using gate = new Gate()
  harness.write(
    "a.ts",
    pluginText({ name: "x", more: needs({ y: "*" }), setup: `say("x waits"); await ${gate.wait}` }),
  )
  harness.write("b.ts", pluginText({ name: "y" }))
  const loading = harness.registry.loadAll()
  await harness.heard("x waits 0")
  harness.registry.disable("y")
  gate.open()
  await loading
  expect(harness.snapshots.flatMap(({ instances }) => instances.map(({ name }) => name))).toEqual(["y"])
  expect(harness.errorOf("x")).toBe('plugin "x" needs "y", which is disabled; enable it first')
})
