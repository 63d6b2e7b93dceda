import { describe, expect, test } from "bun:test"
import type { MiddlewareContext } from "../../src/plugin/contract.ts"
import type { Snapshot } from "../../src/plugin/snapshot.ts"
import { Harness, pluginText } from "./fixtures.ts"

const RULE = { calls: 5, maxErrors: 1 }
const CONTEXT = {} as MiddlewareContext
const FAILS = `throw new Error("no luck")`

/** What the requests of canaries are drawn with: the test says what comes. */
function dice() {
  const next: number[] = []
  return { next, random: () => next.shift() ?? 0.99 }
}

function write(harness: Harness, name: string, version: string, body = "", more = ""): void {
  const abilities = `beforeHandle() { ${body} }`
  harness.write(`${name}.ts`, pluginText({ name, version, type: "middleware", abilities, more }))
}

/** A registry in which `alpha` 1.0.0 serves and 2.0.0 is its canary, for one request in twenty. */
async function tried(body = "", options: ConstructorParameters<typeof Harness>[0] = {}) {
  const { next, random } = dice()
  const harness = new Harness({ probation: RULE, random, ...options })
  harness.entries.alpha = { canary: 0.05 }
  write(harness, "alpha", "1.0.0")
  await harness.registry.loadAll()
  write(harness, "alpha", "2.0.0", body)
  await harness.registry.sync()
  return { harness, next, [Symbol.asyncDispose]: () => harness[Symbol.asyncDispose]() }
}

const versionsIn = (snapshot: Snapshot) => snapshot.instances.map(({ name, version }) => `${name} ${version}`)

/** A request that the canary gets. */
async function callCanary(harness: Harness, next: number[], times: number): Promise<void> {
  for (let count = 0; count < times; count++) {
    next.push(0)
    const snapshot = harness.registry.current.pick()
    const [middleware] = snapshot.middlewaresFor("/v1/x")
    await Promise.try(() => middleware?.beforeHandle?.call(CONTEXT))
  }
}

function series(harness: Harness, name: string): readonly string[] {
  const family = [...harness.metrics.families()].find((other) => other.name === name)
  return [...(family?.series.values() ?? [])].map(({ values }) => values.join(" "))
}

describe("a canary", () => {
  test("is a new version that serves its share of the requests, beside the one before", async () => {
    await using trial = await tried()
    const { harness, next } = trial
    expect(versionsIn(harness.registry.current)).toEqual(["alpha 1.0.0"])
    next.push(0.049, 0.05)
    expect(versionsIn(harness.registry.current.pick())).toEqual(["alpha 2.0.0"])
    expect(harness.registry.current.pick()).toBe(harness.registry.current)
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      version: "1.0.0",
      canary: {
        version: "2.0.0",
        share: 0.05,
        calls: 0,
        errors: 0,
        loaded_at: expect.stringMatching(/^\d{4}-/),
      },
    })
    expect(harness.events.at(-1)).toMatchObject({ change: "canary_started", version: "2.0.0", generation: 2 })
  })

  test("does not come into being by an entry that asks for one: it takes a new version", async () => {
    await using harness = new Harness()
    write(harness, "alpha", "1.0.0")
    await harness.registry.loadAll()
    harness.entries.alpha = { canary: 0.05 }
    await harness.registry.applyEntries()
    expect(harness.registry.getInfo("alpha").canary).toBeNull()
    expect(harness.registry.current.generation).toBe(1)
  })

  test("counts apart in the metrics, and its calls for the plugin as a whole", async () => {
    await using trial = await tried()
    const { harness, next } = trial
    await callCanary(harness, next, 3)
    expect(harness.registry.getInfo("alpha")).toMatchObject({ metrics: { calls: 3 }, canary: { calls: 3 } })
    expect(series(harness, "gateway.plugin.calls")).toEqual(["alpha 1.0.0 stable", "alpha 2.0.0 canary"])
    expect(series(harness, "gateway.hook.duration")).toEqual([
      "alpha beforeHandle 1.0.0 stable",
      "alpha beforeHandle 2.0.0 canary",
    ])
    await harness.registry.promote("alpha")
    expect(series(harness, "gateway.plugin.calls")).toEqual(["alpha 1.0.0 stable", "alpha 2.0.0 stable"])
  })

  test("gives way to the next new version", async () => {
    await using trial = await tried()
    const { harness, next } = trial
    write(harness, "alpha", "3.0.0")
    await harness.registry.sync()
    await harness.heard("alpha gone 2")
    next.push(0)
    expect(versionsIn(harness.registry.current.pick())).toEqual(["alpha 3.0.0"])
    expect(harness.versionOf("alpha")).toBe("1.0.0")
  })

  test("stays where the next version cannot be loaded", async () => {
    await using trial = await tried()
    const { harness } = trial
    harness.write("alpha.ts", "export default {{")
    await harness.registry.sync()
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      version: "1.0.0",
      canary: { version: "2.0.0" },
    })
    expect(harness.errorOf("alpha")).toContain("alpha.ts:1:")
  })

  test("may differ in its settings only", async () => {
    await using harness = new Harness()
    harness.entries.alpha = { canary: 0.5 }
    write(harness, "alpha", "1.0.0")
    await harness.registry.loadAll()
    harness.entries.alpha = { canary: 0.5, priority: 70 }
    await harness.registry.applyEntries()
    expect(harness.registry.getInfo("alpha")).toMatchObject({ priority: 50, canary: { version: "1.0.0" } })
    await harness.registry.promote("alpha")
    expect(harness.registry.getInfo("alpha")).toMatchObject({ priority: 70, canary: null })
  })

  test("that is no longer wanted, because the settings are back, is dropped", async () => {
    await using harness = new Harness()
    harness.entries.alpha = { canary: 0.5 }
    write(harness, "alpha", "1.0.0")
    await harness.registry.loadAll()
    harness.entries.alpha = { canary: 0.5, priority: 70 }
    await harness.registry.applyEntries()
    harness.entries.alpha = { canary: 0.5 }
    await harness.registry.applyEntries()
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      priority: 50,
      canary: null,
      serves_previous: false,
    })
  })

  test("follows its share in the configuration", async () => {
    await using trial = await tried()
    const { harness, next } = trial
    harness.entries.alpha = { canary: 0.5 }
    await harness.registry.applyEntries()
    next.push(0.49)
    expect(versionsIn(harness.registry.current.pick())).toEqual(["alpha 2.0.0"])
    expect(harness.said.filter((text) => text.startsWith("alpha up"))).toHaveLength(2)
  })
})

describe("a promotion", () => {
  test("puts the canary in the place of what serves, which is held until the canary has proved itself", async () => {
    await using trial = await tried()
    const { harness, next } = trial
    await callCanary(harness, next, 2)
    const { version } = await harness.registry.promote("alpha")
    expect(version).toBe("2.0.0")
    expect(harness.registry.current.canaries).toBeUndefined()
    expect(harness.events.at(-1)).toMatchObject({ change: "promoted", version: "2.0.0" })
    expect(harness.registry.getInfo("alpha")).toMatchObject({ canary: null, previous_version: "1.0.0" })
    await callCanary(harness, [], 2)
    expect(harness.said).not.toContain("alpha gone 1")
    await callCanary(harness, [], 1)
    await harness.heard("alpha gone 1")
  })

  test("of a canary that has proved itself lets go of the one before", async () => {
    await using trial = await tried()
    const { harness, next } = trial
    await callCanary(harness, next, RULE.calls)
    await harness.registry.promote("alpha")
    await harness.heard("alpha gone 1")
    await harness.registry.rollback("alpha")
    expect(harness.versionOf("alpha")).toBe("1.0.0")
  })

  test("counts the failures of the canary", async () => {
    await using trial = await tried(FAILS)
    const { harness, next } = trial
    await callCanary(harness, next, 1)
    await harness.registry.promote("alpha")
    await callCanary(harness, [], 1)
    expect(harness.versionOf("alpha")).toBe("1.0.0")
    expect(harness.errorOf("alpha")).toContain("version 2.0.0 failed 2 of 2 calls")
  })

  test("comes with the end of `canary` in the configuration", async () => {
    await using trial = await tried()
    const { harness } = trial
    harness.entries.alpha = {}
    await harness.registry.applyEntries()
    expect(harness.registry.getInfo("alpha")).toMatchObject({ version: "2.0.0", canary: null })
    expect(harness.said.filter((text) => text.startsWith("alpha up"))).toHaveLength(2)
    expect(harness.log).toContainEqual(
      expect.objectContaining({ message: "a canary was promoted by the configuration" }),
    )
  })

  test("is refused where there is no canary", async () => {
    await using harness = new Harness()
    write(harness, "alpha", "1.0.0")
    await harness.registry.loadAll()
    await expect(harness.registry.promote("alpha")).rejects.toThrow('plugin "alpha" has no canary')
    await expect(harness.registry.promote("beta")).rejects.toThrow("no plugin is called")
  })
})

describe("the end of a canary", () => {
  test("comes by a rollback on demand", async () => {
    await using trial = await tried()
    const { harness } = trial
    const info = await harness.registry.rollback("alpha")
    expect(info).toMatchObject({ version: "1.0.0", canary: null, serves_previous: true })
    await harness.heard("alpha gone 2")
    expect(harness.events.at(-1)).toMatchObject({ change: "rolled_back", version: "1.0.0" })
    await harness.registry.sync()
    expect(harness.registry.getInfo("alpha").canary).toBeNull()
  })

  test("stands when the settings change, too", async () => {
    await using trial = await tried()
    const { harness } = trial
    await harness.registry.rollback("alpha")
    harness.entries.alpha = { priority: 70 }
    await harness.registry.applyEntries()
    await harness.registry.sync()
    expect(harness.registry.getInfo("alpha")).toMatchObject({ version: "1.0.0", priority: 70, canary: null })
  })

  test("comes by itself where it fails too often", async () => {
    await using trial = await tried(FAILS)
    const { harness, next } = trial
    await callCanary(harness, next, 2)
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      version: "1.0.0",
      canary: null,
      error: {
        message:
          "version 2.0.0 failed 2 of 2 calls and was taken back; 1.0.0 serves again. Last: beforeHandle: no luck",
      },
    })
    await harness.heard("alpha gone 2")
    expect(series(harness, "gateway.plugin.rollbacks")).toEqual(["alpha automatic"])
  })

  test("comes when what it needs goes, and no sooner", async () => {
    await using harness = new Harness()
    harness.entries.alpha = { canary: 0.05 }
    write(harness, "alpha", "1.0.0")
    write(harness, "base", "1.0.0")
    await harness.registry.loadAll()
    write(harness, "alpha", "2.0.0", "", `dependencies: { base: "^1.0.0" },`)
    await harness.registry.sync()
    expect(harness.registry.getInfo("alpha").canary?.version).toBe("2.0.0")
    harness.registry.disable("base")
    expect(harness.registry.getInfo("alpha")).toMatchObject({
      version: "1.0.0",
      state: "active",
      canary: null,
    })
    await harness.heard("alpha gone 2")
  })

  test.each([
    ["when the plugin is switched off", (harness: Harness) => void harness.registry.disable("alpha")],
    ["when the gateway stops", (harness: Harness) => harness.registry.shutdownAll()],
  ])("comes %s", async (_, act) => {
    const { harness } = await tried()
    await act(harness)
    await harness.heard("alpha gone 1")
    await harness.heard("alpha gone 2")
    await harness.registry.shutdownAll()
  })

  test("leaves the requests that it has begun to it", async () => {
    await using trial = await tried()
    const { harness, next } = trial
    next.push(0)
    const pinned = harness.registry.current.pick()
    pinned.retain()
    await harness.registry.rollback("alpha")
    expect(pinned.instances[0]?.run(() => "still works")).toBe("still works")
    pinned.release()
    await harness.heard("alpha gone 2")
  })
})

describe("several canaries", () => {
  test("are drawn each on its own, and their combinations are compiled once", async () => {
    const { next, random } = dice()
    await using harness = new Harness({ random })
    for (const name of ["alpha", "beta"]) {
      harness.entries[name] = { canary: 0.5 }
      write(harness, name, "1.0.0")
    }
    await harness.registry.loadAll()
    for (const name of ["alpha", "beta"]) write(harness, name, "2.0.0")
    await harness.registry.sync()
    const pick = (...numbers: readonly number[]) => {
      next.push(...numbers)
      return harness.registry.current.pick()
    }
    expect(versionsIn(pick(0, 0.9))).toEqual(["alpha 2.0.0", "beta 1.0.0"])
    expect(versionsIn(pick(0.9, 0))).toEqual(["alpha 1.0.0", "beta 2.0.0"])
    expect(versionsIn(pick(0, 0))).toEqual(["alpha 2.0.0", "beta 2.0.0"])
    expect(pick(0.9, 0.9)).toBe(harness.registry.current)
    expect(pick(0, 0)).toBe(pick(0, 0))
    expect(pick(0, 0).generation).toBe(harness.registry.current.generation)
  })

  test("in more than 64 combinations are served without any", async () => {
    const { next, random } = dice()
    await using harness = new Harness({ random })
    const names = Array.from({ length: 7 }, (_, index) => `p${index}`)
    for (const name of names) {
      harness.entries[name] = { canary: 0.5 }
      write(harness, name, "1.0.0")
    }
    await harness.registry.loadAll()
    for (const name of names) write(harness, name, "2.0.0")
    await harness.registry.sync()
    const snapshots = new Set<Snapshot>()
    for (let mask = 0; mask < 2 ** names.length; mask++) {
      next.push(...names.map((_, index) => (mask & (1 << index) ? 0 : 0.9)))
      snapshots.add(harness.registry.current.pick())
    }
    expect(snapshots.size).toBe(65)
  })
})
