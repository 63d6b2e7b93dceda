/** Plugin files that come, change, break and go while the gateway serves; and the admin API over them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { askPlain, errorOf, postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine"]))
  gateway = await startGateway({
    config: {
      providers: [{ name: "up", base_url: upstream.url, models: ["good"] }],
      plugins: { timeout: "1s" },
    },
    plugins: {
      "present.ts": stamp("present", "from the start"),
      "needed.ts": stamp("needed", "here"),
      "needy.ts": needy(),
    },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

describe("a plugin file", () => {
  test("that is there at the start serves the first request", async () => {
    expect(await stampOf("present")).toBe("from the start")
  })

  test("that is dropped in is live, changes with its file, and goes with it", async () => {
    await gateway.writePlugin("dropped.ts", stamp("dropped", "one"))
    await waitForStamp("dropped", "one")
    await gateway.writePlugin("dropped.ts", stamp("dropped", "two", "1.1.0"))
    await waitForStamp("dropped", "two")
    expect(await pluginInfo("dropped")).toMatchObject({ version: "1.1.0", state: "active", enabled: true })
    await gateway.deletePlugin("dropped.ts")
    await waitForStamp("dropped", undefined)
    expect((await admin("dropped")).status).toBe(404)
  })

  test("that is saved broken leaves the old version serving, and says where it is broken", async () => {
    await gateway.writePlugin("fragile.ts", stamp("fragile", "sound"))
    await waitForStamp("fragile", "sound")
    await gateway.writePlugin("fragile.ts", `${stamp("fragile", "broken")}\nexport const = 1\n`)
    const lines = stamp("fragile", "broken").split("\n").length
    await waitFor("the fault to be shown", async () =>
      new RegExp(`fragile\\.ts:${lines + 1}:\\d+`).test(JSON.stringify(await pluginInfo("fragile"))),
    )
    expect(await stampOf("fragile")).toBe("sound")
    await gateway.writePlugin("fragile.ts", stamp("fragile", "mended"))
    await waitForStamp("fragile", "mended")
    expect(JSON.stringify(await pluginInfo("fragile"))).not.toMatch(/fragile\.ts:\d+:\d+/)
  })

  test.each([
    ["throws while it is imported", 'throw new Error("no import")'],
    [
      "throws in its setup",
      stamp("stable", "x").replace("return {", 'throw new Error("no setup"); return {'),
    ],
    ["has no default export", "export const x = 1"],
    ["exports something else", "export default 42"],
    ["has no version", stamp("stable", "x").replace('version: "1.0.0",', "")],
    ["imports what is not there", `import "./not-there.ts"\n${stamp("stable", "x")}`],
    [
      "waits in its setup for ever",
      stamp("stable", "x")
        .replace("setup()", "async setup()")
        .replace("return {", "await new Promise(() => {}); return {"),
    ],
  ])(
    "that %s leaves the old version serving",
    async (_, source) => {
      await gateway.writePlugin("stable.ts", stamp("stable", "before"))
      await waitForStamp("stable", "before")
      await gateway.writePlugin("stable.ts", source)
      // The next change shows that the one before it was dealt with.
      const mark = String(Bun.hash.crc32(source))
      await gateway.writePlugin("witness.ts", stamp("witness", mark))
      await waitForStamp("witness", mark)
      expect(await stampOf("stable")).toBe("before")
    },
    15_000,
  )

  test("with an import of its own reloads when that changes", async () => {
    await Bun.write(`${gateway.directory}/plugins/lib/text.ts`, 'export const text = "first"')
    const source = stamp("parted", "X").replace('"X"', "text")
    await gateway.writePlugin("parted.ts", `import { text } from "./lib/text.ts"\n${source}`)
    await waitForStamp("parted", "first")
    await Bun.write(`${gateway.directory}/plugins/lib/text.ts`, 'export const text = "second"')
    await waitForStamp("parted", "second")
  })
})

describe("the admin API", () => {
  test("lists plugins with their names, states and counts", async () => {
    const { plugins, count } = (await (await admin("")).json()) as {
      plugins: { name: string }[]
      count: number
    }
    expect(count).toBe(plugins.length)
    expect(plugins).toContainEqual(
      expect.objectContaining({
        name: "present",
        version: "1.0.0",
        type: "middleware",
        enabled: true,
        state: "active",
      }),
    )
  })

  test("disables and enables for the very next request", async () => {
    for (let round = 0; round < 5; round++) {
      expect(await post("present/disable")).toEqual({ message: "plugin disabled", name: "present" })
      expect(await stampOf("present")).toBeUndefined()
      expect(await post("present/enable")).toEqual({ message: "plugin enabled", name: "present" })
      expect(await stampOf("present")).toBe("from the start")
    }
  })

  test("reloads for the very next request", async () => {
    await gateway.writePlugin("counted.ts", counted())
    await waitForStamp("counted", "1")
    expect(await post("counted/reload")).toEqual({ message: "plugin reloaded", name: "counted" })
    expect(await stampOf("counted")).toBe("2")
    expect(await post("counted/reload")).toEqual({ message: "plugin reloaded", name: "counted" })
    expect(await stampOf("counted")).toBe("3")
  })

  test("keeps a disabled plugin disabled through a reload of its file", async () => {
    await gateway.writePlugin("asleep.ts", stamp("asleep", "one"))
    await waitForStamp("asleep", "one")
    await post("asleep/disable")
    await gateway.writePlugin("asleep.ts", stamp("asleep", "two", "2.0.0"))
    await waitFor("the new version", async () => (await pluginInfo("asleep")).version === "2.0.0")
    expect(await stampOf("asleep")).toBeUndefined()
    expect(await pluginInfo("asleep")).toMatchObject({ state: "inactive", enabled: false })
    await post("asleep/enable")
    expect(await stampOf("asleep")).toBe("two")
  })

  test("counts calls, and shows the metrics of one plugin", async () => {
    const { metrics: before } = (await (await admin("present/metrics")).json()) as {
      metrics: { calls: number }
    }
    await askPlain(gateway.url, "good")
    const after = (await (await admin("present/metrics")).json()) as {
      plugin: string
      metrics: { calls: number }
    }
    expect(after.plugin).toBe("present")
    expect(after.metrics.calls).toBeGreaterThan(before.calls)
  })

  test("shows the hooks", async () => {
    const { hooks } = (await (await admin("hooks/stats")).json()) as { hooks: Record<string, unknown> }
    expect(Object.keys(hooks).length).toBeGreaterThan(0)
  })

  test.each(["enable", "disable", "reload"])(
    "answers 404 to %s of a plugin that is not there",
    async (operation) => {
      const response = await admin(`not-there/${operation}`, "POST")
      expect(response.status).toBe(404)
      expect(await errorOf(response)).toMatchObject({ code: "plugin_not_found" })
    },
  )

  test("answers 404 about a plugin that is not there", async () => {
    for (const path of ["not-there", "not-there/metrics", "__proto__", "constructor/metrics"]) {
      expect((await admin(path)).status).toBe(404)
    }
  })

  test("refuses to take a plugin away under one that needs it, unless it is forced", async () => {
    const response = await admin("needed/disable", "POST")
    expect(response.status).toBe(409)
    expect((await errorOf(response)).message).toContain("needy")
    expect(await stampOf("needed")).toBe("here")
    expect((await admin("needed/disable?force=true", "POST")).status).toBe(200)
    expect(await stampOf("needed")).toBeUndefined()
    const needy = await pluginInfo("needy")
    expect(needy.state).not.toBe("active")
    expect(JSON.stringify(needy.error)).toContain("needed")
    expect((await admin("needed/enable", "POST")).status).toBe(200)
    expect(await pluginInfo("needy")).toMatchObject({ state: "active", error: null })
  })
})

function stamp(name: string, text: string, version = "1.0.0"): string {
  return `import { definePlugin } from "leapgate/plugin"

export default definePlugin({
  name: "${name}",
  version: "${version}",
  type: "middleware",
  setup() {
    return {
      priority: ${20 + (Bun.hash.crc32(name) % 60)},
      beforeHandle(context) {
        context.setHeader("x-stamp-${name}", "${text}")
      },
    }
  },
})`
}

/** Stamps how often it was set up; its state outlives it. */
function counted(): string {
  return `import { definePlugin } from "leapgate/plugin"

export default definePlugin({
  name: "counted",
  version: "1.0.0",
  type: "middleware",
  async setup({ state }) {
    const { value } = await state.increment("setups")
    return { beforeHandle: (context) => context.setHeader("x-stamp-counted", String(value)) }
  },
})`
}

function needy(): string {
  return `import { definePlugin } from "leapgate/plugin"

export default definePlugin({
  name: "needy",
  version: "1.0.0",
  type: "middleware",
  dependencies: { needed: "^1.0.0" },
  setup: () => ({ beforeHandle() {} }),
})`
}

async function stampOf(name: string): Promise<string | undefined> {
  const response = await postChat(gateway.url, { model: "good" })
  expect(response.status).toBe(200)
  await response.arrayBuffer()
  return response.headers.get(`x-stamp-${name}`) ?? undefined
}

async function waitForStamp(name: string, text: string | undefined): Promise<void> {
  await waitFor(`the stamp of ${name} to be ${text}`, async () => (await stampOf(name)) === text, 5_000)
}

function admin(path: string, method = "GET"): Promise<Response> {
  return fetch(`${gateway.adminUrl}/plugins${path === "" ? "" : `/${path}`}`, { method })
}

async function post(path: string): Promise<unknown> {
  const response = await admin(path, "POST")
  expect(response.status).toBe(200)
  return await response.json()
}

async function pluginInfo(name: string): Promise<Record<string, unknown>> {
  return (await (await admin(name)).json()) as Record<string, unknown>
}
