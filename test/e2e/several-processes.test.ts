/** Two serving processes behind one port: what is asked of one holds for both. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { PluginInfo } from "../../src/plugin/plugin-info.ts"
import { errorOf, postChat } from "../support/chat.ts"
import { type GatewayOptions, type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { processTree } from "../support/process.ts"
import { readStream } from "../support/streamed-reply.ts"
import { HOSTILE_WORDS, pausesMidway } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

/** Says on every reply who serves. */
const WHO = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({ name: "who", version: "1.0.0", type: "middleware",
  setup: () => ({ priority: 90, beforeHandle: (ctx) => ctx.setHeader("x-pid", String(process.pid)) }) })`

/** Says its version in place of an answer. */
const gate = (version: string) => `import { definePlugin } from "leapgate/plugin"
export default definePlugin({ name: "gate", version: "${version}", type: "middleware",
  setup: () => ({ priority: 50, beforeHandle: () => new Response("gate ${version}") }) })`

/** Fails when it is asked to, and is set to be switched off then. */
const FRAGILE = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({ name: "fragile", version: "1.0.0", type: "middleware",
  setup: () => ({ priority: 70, beforeHandle(ctx) {
    if (ctx.headers.has("x-fail")) throw new Error("as it was told")
    ctx.setHeader("x-fragile", "on")
  } }) })`

/** Fails as the other, and says its version. */
const fragile = (version: string) =>
  FRAGILE.replace("1.0.0", version).replace('"x-fragile", "on"', `"x-fragile", "${version}"`)

/** Greets as it is set to. */
const GREETER = `import { definePlugin, Type } from "leapgate/plugin"
export default definePlugin({ name: "greeter", version: "1.0.0", type: "middleware",
  config: Type.Object({ greeting: Type.String({ default: "hi" }) }),
  setup: ({ config }) => ({ priority: 60, beforeHandle: (ctx) => ctx.setHeader("x-greeting", config.greeting) }) })`

function startTwo({ plugins, config = {} }: Pick<GatewayOptions, "plugins"> & { config?: object } = {}) {
  return startGateway({
    config: {
      server: { workers: 2 },
      // So that only what is told to a process changes its plugins.
      plugins: { hot_reload: false, configs: { fragile: { on_error: "disable" } } },
      ...config,
    },
    plugins: { "who.ts": WHO, "gate.ts": gate("1.0.0"), "fragile.ts": FRAGILE, ...plugins },
  })
}

interface Answer {
  readonly pid: string
  readonly body: string
  readonly headers: Headers
}

/** Asks over a connection of its own: those are what is spread over the processes. */
async function ask(gateway: RunningGateway, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const response = await fetch(`${gateway.url}/v1/models`, { headers: { ...headers, connection: "close" } })
  return {
    pid: response.headers.get("x-pid") ?? "",
    body: await response.text(),
    headers: response.headers,
  }
}

/** Asks until each of two processes has answered some times; by their pids. */
async function askBoth(gateway: RunningGateway): Promise<ReadonlyMap<string, readonly Answer[]>> {
  const answers = new Map<string, Answer[]>()
  return waitFor("two processes to answer", async () => {
    const answer = await ask(gateway)
    answers.set(answer.pid, [...(answers.get(answer.pid) ?? []), answer])
    return answers.size === 2 && [...answers.values()].every((list) => list.length >= 5) && answers
  })
}

/** What both processes say, each kind once. */
async function bodies(gateway: RunningGateway): Promise<readonly string[]> {
  const answers = [...(await askBoth(gateway)).values()].flat()
  return [...new Set(answers.map(({ body }) => (body.startsWith("gate") ? body : "models")))]
}

function admin(gateway: RunningGateway, path: string, method = "GET"): Promise<Response> {
  return fetch(`${gateway.adminUrl}/plugins${path}`, { method, headers: { connection: "close" } })
}

async function operate(gateway: RunningGateway, name: string, op: string): Promise<void> {
  const response = await admin(gateway, `/${name}/${op}`, "POST")
  expect({ op, status: response.status, body: await response.text() }).toMatchObject({ op, status: 200 })
}

async function infoOf(gateway: RunningGateway, name: string): Promise<PluginInfo> {
  return (await (await admin(gateway, `/${name}`)).json()) as PluginInfo
}

/** What both processes say in a header, each kind once. */
async function headers(gateway: RunningGateway, name: string): Promise<readonly (string | null)[]> {
  const answers = [...(await askBoth(gateway)).values()].flat()
  return [...new Set(answers.map(({ headers }) => headers.get(name)))]
}

const servingPids = ({ pid }: RunningGateway): readonly number[] => processTree(pid).slice(1)

describe("requests", () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await startTwo()
  })
  afterAll(() => gateway?.stop())

  test("are answered by both processes", async () => {
    const pids = [...(await askBoth(gateway)).keys()].map(Number)
    expect(pids.toSorted()).toEqual([...servingPids(gateway)].toSorted())
  })

  test("are refused or let through by both as soon as an operation has its reply", async () => {
    expect(await bodies(gateway)).toEqual(["gate 1.0.0"])
    for (let round = 1; round <= 3; round++) {
      await operate(gateway, "gate", "disable")
      expect(await bodies(gateway)).toEqual(["models"])
      await operate(gateway, "gate", "enable")
      expect(await bodies(gateway)).toEqual(["gate 1.0.0"])
    }
  })

  test("meet the new version in both after a reload", async () => {
    await gateway.writePlugin("gate.ts", gate("2.0.0"))
    expect(await bodies(gateway)).toEqual(["gate 1.0.0"])
    await operate(gateway, "gate", "reload")
    expect(await bodies(gateway)).toEqual(["gate 2.0.0"])
  })

  test("meet the old version in both after a reload that failed", async () => {
    await gateway.writePlugin("gate.ts", "export default 1")
    const response = await admin(gateway, "/gate/reload", "POST")
    expect(await errorOf(response)).toMatchObject({ code: "plugin_invalid" })
    expect(await bodies(gateway)).toEqual(["gate 2.0.0"])
    const { state, error, processes } = await infoOf(gateway, "gate")
    expect({ state, code: error?.code }).toEqual({ state: "active", code: "plugin_invalid" })
    expect(processes?.filter(({ error }) => error !== null)).toHaveLength(1)
  })

  test("are not met any more by a plugin that failed in one process", async () => {
    const { pid } = await ask(gateway, { "x-fail": "please" })
    expect(servingPids(gateway)).toContain(Number(pid))
    await waitFor("both to be without it", async () => {
      const answers = [...(await askBoth(gateway)).values()].flat()
      return answers.every(({ headers }) => !headers.has("x-fragile"))
    })
    const { enabled, processes } = await infoOf(gateway, "fragile")
    expect(enabled).toBe(false)
    expect(processes?.map(({ state, error }) => [state, error?.message])).toEqual(
      Array(2).fill(["inactive", expect.stringContaining("as it was told")]),
    )
  })
})

describe("a version", () => {
  test("is gone back from in both, and no further than that", async () => {
    await using gateway = await startTwo()
    for (const version of ["2.0.0", "3.0.0"]) {
      await gateway.writePlugin("gate.ts", gate(version))
      await operate(gateway, "gate", "reload")
    }
    // On probation, so it is not the last good one.
    expect(await bodies(gateway)).toEqual(["gate 3.0.0"])
    const response = await admin(gateway, "/gate/rollback", "POST")
    expect(await response.json()).toEqual({ message: "plugin rolled back", name: "gate", version: "1.0.0" })
    expect(await bodies(gateway)).toEqual(["gate 1.0.0"])
    for (let count = 0; count < 4; count++) {
      const { code } = await errorOf(await admin(gateway, "/gate/rollback", "POST"))
      expect(code).toBe("plugin_conflict")
    }
    expect(await bodies(gateway)).toEqual(["gate 1.0.0"])
  })

  test("that is a canary is promoted in both", async () => {
    await using gateway = await startTwo({
      config: { plugins: { hot_reload: false, configs: { gate: { canary: "50%" } } } },
    })
    await gateway.writePlugin("gate.ts", gate("2.0.0"))
    await operate(gateway, "gate", "reload")
    await waitFor("both versions to be met", async () => (await bodies(gateway)).length === 2)
    const response = await admin(gateway, "/gate/promote", "POST")
    expect(await response.json()).toEqual({ message: "plugin promoted", name: "gate", version: "2.0.0" })
    expect(await bodies(gateway)).toEqual(["gate 2.0.0"])
  })

  test("that cannot be gone back from in a process that came later is an error that says so", async () => {
    await using gateway = await startTwo()
    await gateway.writePlugin("gate.ts", gate("2.0.0"))
    await operate(gateway, "gate", "reload")
    const [one = 0, victim = 0] = servingPids(gateway)
    process.kill(victim, "SIGKILL")
    const next = await waitFor("another one to be ready", () => {
      const [pid] = servingPids(gateway).filter((pid) => pid !== one && pid !== victim)
      const ready = gateway
        .logs()
        .split("\n")
        .some((line) => line.includes('"ready"') && line.includes(`"pid":${pid}`))
      return ready && pid
    })
    const { code, message } = await waitFor("the request to get to the older one", async () => {
      const error = await errorOf(await admin(gateway, "/gate/rollback", "POST"))
      return error.code === "processes_disagree" && error
    })
    expect(code).toBe("processes_disagree")
    expect(message).toContain(`process ${next}: plugin "gate" cannot go back from version 2.0.0 to 1.0.0`)
    const { processes } = await infoOf(gateway, "gate")
    expect(processes?.map(({ version }) => version).toSorted()).toEqual(["1.0.0", "2.0.0"])
  })

  test.each([
    ["on_error: disable", { on_error: "disable" }],
    ["its probation", { probation: { calls: 1000, max_errors: 0 } }],
  ])("that %s takes back in one process is taken back in the other", async (_, fragileEntry) => {
    await using gateway = await startTwo({
      config: {
        plugins: { hot_reload: false, configs: { gate: { enabled: false }, fragile: fragileEntry } },
      },
    })
    await gateway.writePlugin("fragile.ts", fragile("2.0.0"))
    await operate(gateway, "fragile", "reload")
    expect(await headers(gateway, "x-fragile")).toEqual(["2.0.0"])
    await ask(gateway, { "x-fail": "please" })
    await waitFor("both to be back", async () => (await headers(gateway, "x-fragile")).join() === "on")
    const { enabled, previous_version, serves_previous, processes } = await infoOf(gateway, "fragile")
    expect({ enabled, previous_version, serves_previous }).toEqual({
      enabled: true,
      previous_version: null,
      serves_previous: true,
    })
    expect(processes?.map(({ version, error }) => [version, error?.message])).toEqual(
      Array(2).fill(["1.0.0", expect.stringContaining("was taken back; 1.0.0 serves again")]),
    )
    expect(gateway.logs().match(/"message":"a plugin was rolled back"/g)).toHaveLength(2)
    expect(gateway.logs()).not.toContain("did not do what")
  })
})

test("a version that fails while it is still arriving is gone from both, and stays away", async () => {
  await using gateway = await startTwo({
    config: { plugins: { configs: { gate: { enabled: false }, fragile: { on_error: "open" } } } },
  })
  const bad = fragile("2.0.0").replace(`if (ctx.headers.has("x-fail"))`, "if (true)")
  await gateway.writePlugin("fragile.ts", bad)
  await waitFor("both to have taken it back", async () => {
    await askBoth(gateway)
    return gateway.logs().match(/"message":"a plugin was rolled back"/g)?.length === 2
  })
  expect(await headers(gateway, "x-fragile")).toEqual(["on"])
  const { error, processes } = await infoOf(gateway, "fragile")
  expect(error?.message).toContain("version 2.0.0 failed")
  expect(processes?.map(({ version }) => version)).toEqual(["1.0.0", "1.0.0"])
  expect(gateway.logs()).not.toContain("did not do what")
})

describe("settings", () => {
  const post = (gateway: RunningGateway, greeting: unknown) =>
    fetch(`${gateway.adminUrl}/plugins/greeter/config`, {
      method: "POST",
      headers: { "content-type": "application/json", connection: "close" },
      body: JSON.stringify({ config: { greeting } }),
    })

  test("are in use in both when the reply comes", async () => {
    await using gateway = await startTwo({
      plugins: { "greeter.ts": GREETER },
      config: {
        plugins: {
          hot_reload: false,
          configs: { gate: { enabled: false }, greeter: { probation: { calls: 1000, max_errors: 0 } } },
        },
      },
    })
    for (const greeting of ["hello", "good day", "ahoy"]) {
      expect((await post(gateway, greeting)).status).toBe(200)
      expect(await headers(gateway, "x-greeting")).toEqual([greeting])
    }
    const { code } = await errorOf(await post(gateway, 7))
    expect(code).toBe("plugin_config_invalid")
    expect(await headers(gateway, "x-greeting")).toEqual(["ahoy"])
    const { generation, processes } = await infoOf(gateway, "greeter")
    expect(processes?.map((process) => process.generation)).toEqual([generation, generation])
    // The last ones that have passed their probation.
    await operate(gateway, "greeter", "rollback")
    expect(await headers(gateway, "x-greeting")).toEqual(["hi"])
  })
})

test("settings that are changed in both at the same time are all in the file", async () => {
  const names = Array.from({ length: 12 }, (_, index) => `greeter-${index}`)
  const plugins = names.map((name) => [`${name}.ts`, GREETER.replace("greeter", name)])
  const entries = names.map((name) => [name, {}])
  await using gateway = await startTwo({
    plugins: Object.fromEntries(plugins),
    config: { plugins: { hot_reload: false, configs: Object.fromEntries(entries) } },
  })
  const replies = names.map((name) =>
    fetch(`${gateway.adminUrl}/plugins/${name}/config`, {
      method: "POST",
      headers: { "content-type": "application/json", connection: "close" },
      body: JSON.stringify({ config: { greeting: `as ${name}` } }),
    }),
  )
  expect((await Promise.all(replies)).map(({ status }) => status)).toEqual(names.map(() => 200))
  const text = await Bun.file(join(gateway.directory, "config.yaml")).text()
  expect(names.filter((name) => !text.includes(`greeting: as ${name}`))).toEqual([])
  expect(readdirSync(gateway.directory).filter((file) => file.endsWith(".lock"))).toEqual([])
})

describe("what caches hold", () => {
  interface CacheBody {
    readonly stats: Readonly<Record<string, number>>
  }
  const statsOf = async (gateway: RunningGateway) =>
    ((await (await admin(gateway, "/memory-cache/cache")).json()) as CacheBody).stats

  /** Asks until both processes have an answer to keep. */
  async function fill(gateway: RunningGateway): Promise<number> {
    const pids = new Set<string>()
    let total = 0
    await waitFor("both to answer", async () => {
      const options = { model: "demo", prompt: "the same", headers: { connection: "close" } }
      const response = await postChat(gateway.url, options)
      await response.text()
      total++
      pids.add(String(response.headers.get("x-pid")))
      return pids.size === 2
    })
    await waitFor("both to keep it", async () => (await statsOf(gateway)).entries === 2)
    return total
  }

  test("is summed, and thrown away in both", async () => {
    await using gateway = await startTwo({
      config: {
        plugins: {
          hot_reload: false,
          configs: { "example-provider": {}, "memory-cache": {}, gate: { enabled: false } },
        },
      },
    })
    const total = await fill(gateway)
    const { hits = 0, misses = 0, sets } = await statsOf(gateway)
    expect({ looks: hits + misses, misses, sets }).toEqual({ looks: total, misses: 2, sets: 2 })
    const response = await admin(gateway, "/memory-cache/cache", "DELETE")
    expect(await response.json()).toEqual({ message: "cache cleared", name: "memory-cache" })
    expect(await statsOf(gateway)).toMatchObject({ entries: 0, size_bytes: 0 })
    const deleted = await admin(gateway, "/memory-cache/cache/0123", "DELETE")
    expect(await deleted.json()).toEqual({ plugin: "memory-cache", key: "0123", deleted: false })
    const { code } = await errorOf(await admin(gateway, "/gate/cache", "DELETE"))
    expect(code).toBe("plugin_conflict")
  })
})

describe("what the admin API tells", () => {
  test("is the sum of both processes", async () => {
    await using gateway = await startTwo()
    const answers = [...(await askBoth(gateway)).values()]
    const total = answers.flat().length
    const { metrics, processes, state } = await infoOf(gateway, "gate")
    expect(metrics.calls).toBe(total)
    expect(metrics.average_time_ms).toBeCloseTo(metrics.total_time_ms / total, 9)
    expect(state).toBe("active")
    expect(processes?.map(({ pid }) => pid).toSorted()).toEqual([...servingPids(gateway)].toSorted())
    const body = await (await admin(gateway, "/gate/metrics")).json()
    expect(body).toMatchObject({ plugin: "gate", metrics: { calls: total } })
    const { plugins, count } = (await (await admin(gateway, "")).json()) as {
      readonly plugins: readonly PluginInfo[]
      readonly count: number
    }
    expect(plugins).toHaveLength(count)
    expect(plugins.find(({ name }) => name === "who")?.metrics.calls).toBe(total)
    expect((await admin(gateway, "/nobody")).status).toBe(404)
  })

  test("of hooks is the sum of both processes", async () => {
    const hooked = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({ name: "hooked", version: "1.0.0", type: "monitoring",
  setup: () => ({ hooks: { onRequest: (event) => event } }) })`
    await using gateway = await startTwo({
      plugins: { "hooked.ts": hooked },
      config: {
        plugins: { hot_reload: false, configs: { "example-provider": {}, gate: { enabled: false } } },
      },
    })
    const pids = new Map<string, number>()
    await waitFor("both to answer", async () => {
      const response = await postChat(gateway.url, { model: "demo", headers: { connection: "close" } })
      await response.text()
      const pid = String(response.headers.get("x-pid"))
      pids.set(pid, (pids.get(pid) ?? 0) + 1)
      return pids.size === 2
    })
    const total = [...pids.values()].reduce((a, b) => a + b)
    const { hooks } = (await (await admin(gateway, "/hooks/stats")).json()) as {
      readonly hooks: Readonly<Record<string, { registered: number; plugins: Record<string, unknown> }>>
    }
    expect(hooks.onRequest).toMatchObject({ registered: 1, plugins: { hooked: { calls: total } } })
  })

  test("leaves a process blank that does not answer", async () => {
    await using gateway = await startTwo()
    const [one = 0, two = 0] = servingPids(gateway)
    process.kill(two, "SIGSTOP")
    // Some of the connections go to the one that is stopped.
    const tries = Array.from({ length: 12 }, () => infoOf(gateway, "gate"))
    try {
      const { state, processes } = await Promise.any(tries)
      expect(state).toBe("active")
      expect(processes?.map(({ pid, state }) => [pid, state])).toEqual([
        [one, "active"],
        [two, "unknown"],
      ])
    } finally {
      process.kill(two, "SIGCONT")
      await Promise.allSettled(tries)
    }
  }, 15_000)
})

test("a scrape has the series of both processes, in whichever it arrives", async () => {
  await using gateway = await startTwo()
  const total = [...(await askBoth(gateway)).values()].flat().length
  for (const accept of ["text/plain", "application/openmetrics-text; version=1.0.0"]) {
    const response = await fetch(`${gateway.url}/metrics`, { headers: { accept, connection: "close" } })
    const text = await response.text()
    const calls = [
      ...text.matchAll(
        /^leapgate_plugin_calls_total\{plugin="gate",version="1.0.0",role="stable",process="(\d)"\} (\d+)$/gm,
      ),
    ]
    expect(calls.map(([, number]) => number).toSorted()).toEqual(["1", "2"])
    expect(calls.reduce((sum, [, , count]) => sum + Number(count), 0)).toBe(total)
    const types = text.split("\n").filter((line) => line.startsWith("# TYPE"))
    expect(new Set(types).size).toBe(types.length)
    expect(text).toMatch(
      /^leapgate_hook_duration_seconds_bucket\{plugin="gate",hook="beforeHandle",version="1.0.0",role="stable",process="2",le="/m,
    )
    expect(text.endsWith("# EOF\n")).toBe(accept.startsWith("application"))
  }
})

describe("a crash", () => {
  test("of one process costs the other's connections nothing, and it comes back as it was", async () => {
    await using gateway = await startTwo()
    await operate(gateway, "gate", "disable")
    const [, victim = 0] = servingPids(gateway)
    process.kill(victim, "SIGKILL")
    // Connections that it had not accepted yet are its own, too.
    await waitFor("it to be gone", () => gateway.logs().includes("a serving process ended"))
    for (let count = 0; count < 30; count++) expect((await ask(gateway)).pid).not.toBe(String(victim))
    await waitFor("another one", () => servingPids(gateway).length === 2)
    const answers = await askBoth(gateway)
    expect([...answers.keys()].map(Number).toSorted()).toEqual([...servingPids(gateway)].toSorted())
    const after = [...answers.values()].flat()
    expect(after.filter(({ body }) => body.startsWith("gate"))).toEqual([])
    expect(gateway.logs().match(/is ready on/g)).toHaveLength(1)
  })

  test("of both at once keeps the port, and what was switched", async () => {
    await using gateway = await startTwo()
    await operate(gateway, "gate", "disable")
    const before = servingPids(gateway)
    for (const pid of before) process.kill(pid, "SIGKILL")
    await waitFor("two others", () => {
      const now = servingPids(gateway)
      return now.length === 2 && !now.some((pid) => before.includes(pid))
    })
    await waitFor("the port to be open again", () => ask(gateway).catch(() => false as const))
    expect(await bodies(gateway)).toEqual(["models"])
  })
})

describe("the end", () => {
  let upstream: HostileUpstream
  beforeAll(() => {
    upstream = startHostileUpstream()
    upstream.script("slow", pausesMidway())
  })
  afterAll(() => upstream?.stop())

  test("lets the open streams of both processes finish", async () => {
    await using gateway = await startTwo({
      config: {
        providers: [{ name: "up", base_url: upstream.url, models: ["slow"] }],
        plugins: { configs: { gate: { enabled: false } } },
      },
    })
    const streams: { readonly pid: string; readonly reader: ReturnType<typeof readStream> }[] = []
    await waitFor("a stream in each process", async () => {
      const options = { model: "slow", stream: true, headers: { connection: "close" } }
      const response = await postChat(gateway.url, options)
      streams.push({ pid: String(response.headers.get("x-pid")), reader: readStream(response) })
      return new Set(streams.map(({ pid }) => pid)).size === 2
    })
    for (const { reader } of streams) await reader.untilText()
    gateway.terminate()
    await waitFor("both to drain", () => gateway.logs().match(/"draining"/g)?.length === 2)
    for (const _ of streams) upstream.proceed("slow")
    for (const { reader } of streams) {
      expect(await reader.rest()).toMatchObject({ text: HOSTILE_WORDS.join(""), isDone: true, end: "clean" })
    }
    expect(await gateway.exited).toBe(0)
  })
})

describe("the address", () => {
  test("of the admin API is shared too", async () => {
    await using gateway = await startGateway({
      config: { server: { workers: 2 }, admin: { listen: "127.0.0.1:0" } },
    })
    expect((await fetch(`${gateway.url}/admin/plugins`)).status).toBe(404)
    await waitFor("both to be ready", () => gateway.logs().match(/"ready"/g)?.length === 2)
  })

  test("is not taken from another gateway", async () => {
    await using first = await startTwo()
    const second = startGateway({ config: { server: { workers: 2, port: first.port } } })
    await expect(second).rejects.toThrow("is another process using the port?")
  })
})

test("without a supervisor one process serves, and says so", async () => {
  await using gateway = await startGateway({
    config: { server: { workers: 2 } },
    flags: ["--no-supervisor"],
  })
  expect(processTree(gateway.pid)).toEqual([gateway.pid])
  await waitFor("the warning", () => gateway.logs().includes("server.workers is ignored"))
  const { plugins } = (await (await admin(gateway, "")).json()) as { readonly plugins: readonly object[] }
  expect(plugins.filter((plugin) => "processes" in plugin)).toEqual([])
})

test("a changed config reaches both processes", async () => {
  await using gateway = await startTwo()
  expect(await bodies(gateway)).toEqual(["gate 1.0.0"])
  writeFileSync(
    join(gateway.directory, "config.yaml"),
    "server: { host: 127.0.0.1, port: 0, workers: 2 }\nplugins: { hot_reload: false, configs: { gate: { enabled: false } } }\n",
  )
  await waitFor("both to follow", async () => (await bodies(gateway)).join() === "models")
})
