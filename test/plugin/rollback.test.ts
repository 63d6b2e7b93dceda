import { describe, expect, test } from "bun:test"
import type { GatewayError } from "../../src/errors.ts"
import { Gate, Harness, pluginText } from "./fixtures.ts"

const RULE = { calls: 50, maxErrors: 2 }
type Options = ConstructorParameters<typeof Harness>[0]
type Text = Partial<Parameters<typeof pluginText>[0]>

function write(harness: Harness, version: string, text: Text = {}): void {
  harness.write("a.ts", pluginText({ name: "alpha", version, ...text }))
}

/** A registry in which `alpha` went from 1.0.0 to 2.0.0. */
async function advanced(options: Options = {}, text: Text = {}): Promise<Harness> {
  const harness = new Harness(options)
  write(harness, "1.0.0", text)
  await harness.registry.loadAll()
  write(harness, "2.0.0", text)
  await harness.registry.sync()
  return harness
}

async function refusalOf(answer: Promise<unknown>): Promise<GatewayError> {
  return answer.then(
    () => {
      throw new Error("it was not refused")
    },
    (thrown: GatewayError) => thrown,
  )
}

describe("a rollback on demand", () => {
  test("goes back at once to the instance that is held", async () => {
    await using harness = await advanced({ probation: RULE })
    const info = await harness.registry.rollback("alpha")
    expect(info).toMatchObject({
      version: "1.0.0",
      state: "active",
      previous_version: null,
      serves_previous: true,
      error: null,
    })
    await harness.heard("alpha gone 2")
    expect(harness.said).toEqual(["alpha up 1", "alpha up 2", "alpha gone 2"])
    expect(harness.events.at(-1)).toMatchObject({ change: "rolled_back", version: "1.0.0" })
  })

  test("sets the version before up once more where it is gone", async () => {
    await using harness = await advanced()
    await harness.heard("alpha gone 1")
    await harness.registry.rollback("alpha")
    expect(harness.registry.getInfo("alpha")).toMatchObject({ version: "1.0.0", serves_previous: true })
    await harness.heard("alpha gone 2")
    expect(harness.said.filter((text) => text === "alpha up 1")).toHaveLength(2)
  })

  test("takes the settings of now with different code", async () => {
    const more = "config: Type.Object({ size: Type.Number({ default: 1 }) }),"
    await using harness = await advanced({}, { more, setup: `say("size", config.size)` })
    harness.entries.alpha = { config: { size: 7 } }
    write(harness, "3.0.0", { more, setup: `say("size", config.size)` })
    await harness.registry.applyEntries()
    expect(harness.versionOf("alpha")).toBe("3.0.0")
    harness.said.length = 0
    await harness.registry.rollback("alpha")
    expect(harness.versionOf("alpha")).toBe("2.0.0")
    expect(harness.said).toContain("size 7")
  })

  test("of a change of settings brings the settings back", async () => {
    await using harness = new Harness()
    write(harness, "1.0.0")
    await harness.registry.loadAll()
    harness.entries.alpha = { priority: 90 }
    await harness.registry.applyEntries()
    expect(harness.registry.getInfo("alpha")).toMatchObject({ priority: 90, previous_version: "1.0.0" })
    await harness.registry.rollback("alpha")
    expect(harness.registry.getInfo("alpha")).toMatchObject({ priority: 50, serves_previous: true })
    await harness.registry.applyEntries()
    expect(harness.registry.getInfo("alpha").priority).toBe(50)
    harness.entries.alpha = {}
    await harness.registry.applyEntries()
    expect(harness.registry.getInfo("alpha")).toMatchObject({ priority: 50, serves_previous: false })
  })

  test("of a bundled plugin brings its settings back", async () => {
    const definition = {
      name: "built-in",
      version: "1.0.0",
      type: "monitoring",
      setup: () => ({}),
    } as const
    await using harness = new Harness({ bundled: [{ definition, file: "/nowhere/built-in.ts" }] })
    harness.entries["built-in"] = { priority: 10 }
    await harness.registry.loadAll()
    harness.entries["built-in"] = { priority: 20 }
    await harness.registry.applyEntries()
    await harness.registry.rollback("built-in")
    expect(harness.registry.getInfo("built-in")).toMatchObject({ priority: 10, serves_previous: true })
  })

  test("is refused where there is no earlier version", async () => {
    await using harness = new Harness({ probation: RULE })
    write(harness, "1.0.0")
    await harness.registry.loadAll()
    expect(await refusalOf(harness.registry.rollback("alpha"))).toMatchObject({
      code: "plugin_conflict",
      message: expect.stringContaining("there is no earlier version"),
    })
    write(harness, "2.0.0")
    await harness.registry.sync()
    await harness.registry.rollback("alpha")
    expect((await refusalOf(harness.registry.rollback("alpha"))).code).toBe("plugin_conflict")
    expect((await refusalOf(harness.registry.rollback("beta"))).code).toBe("plugin_not_found")
    harness.registry.disable("alpha")
    expect((await refusalOf(harness.registry.rollback("alpha"))).code).toBe("plugin_conflict")
  })

  test("is refused where another plugin needs the version that serves", async () => {
    await using harness = await advanced({ probation: RULE })
    harness.write("b.ts", pluginText({ name: "beta", more: `dependencies: { alpha: "^2.0.0" },` }))
    await harness.registry.sync()
    expect(await refusalOf(harness.registry.rollback("alpha"))).toMatchObject({
      code: "plugin_conflict",
      message: expect.stringContaining('is not the version of "alpha" that plugin "beta" needs'),
    })
    expect(harness.versionOf("alpha")).toBe("2.0.0")
  })

  test("that fails leaves what serves, and the next one may succeed", async () => {
    const top = "const isSecond = () => (globalThis.alphaSetups = (globalThis.alphaSetups ?? 0) + 1) === 3"
    await using harness = await advanced({}, { top, setup: `if (isSecond()) throw new Error("not now")` })
    expect((await refusalOf(harness.registry.rollback("alpha"))).message).toContain("not now")
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      version: "2.0.0",
      previous_version: "1.0.0",
      error: null,
    })
    await harness.registry.rollback("alpha")
    expect(harness.versionOf("alpha")).toBe("1.0.0")
    Reflect.deleteProperty(globalThis, "alphaSetups")
  })

  test("stands until the file changes, or a reload is asked for", async () => {
    await using harness = await advanced({ probation: RULE })
    await harness.registry.rollback("alpha")
    await harness.registry.sync()
    expect(harness.versionOf("alpha")).toBe("1.0.0")
    await harness.registry.reload("alpha")
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      version: "2.0.0",
      previous_version: "1.0.0",
      serves_previous: false,
    })
  })

  test("stands when the settings change, too", async () => {
    await using harness = await advanced()
    await harness.registry.rollback("alpha")
    for (const priority of [70, 80]) {
      harness.entries.alpha = { priority }
      await harness.registry.applyEntries()
      await harness.registry.sync()
      expect(harness.registry.getInfo("alpha")).toMatchObject({ version: "1.0.0", priority })
    }
    write(harness, "3.0.0")
    await harness.registry.sync()
    expect(harness.versionOf("alpha")).toBe("3.0.0")
  })

  test("ends a load that is still under way: what was asked for last holds", async () => {
    await using harness = await advanced({ probation: RULE })
    using gate = new Gate()
    write(harness, "3.0.0", { setup: `say("hangs"); await ${gate.wait}` })
    const loading = harness.registry.sync()
    await harness.heard("hangs 0")
    await harness.registry.rollback("alpha")
    await loading
    await harness.registry.sync()
    expect(harness.versionOf("alpha")).toBe("1.0.0")
    expect(harness.said).not.toContain("alpha up 3")
  })

  test("works for as long as versions come, with a constant number of built files", async () => {
    await using harness = await advanced()
    for (let version = 3; version < 12; version++) {
      write(harness, `${version}.0.0`)
      await harness.registry.sync()
      if (version % 3 !== 0) continue
      await harness.registry.rollback("alpha")
      expect(harness.versionOf("alpha")).toBe(`${version - 1}.0.0`)
    }
  })
})
