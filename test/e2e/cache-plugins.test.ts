/** Several cache plugins, and ones that break their word: nobody's request may notice. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readWholeStream } from "../support/streamed-reply.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

let upstream: HostileUpstream

beforeAll(() => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["answer number {n}, ", "and whole"]))
})

afterAll(() => upstream?.stop())

describe("several caches", () => {
  let gateway: RunningGateway

  beforeAll(async () => {
    gateway = await gatewayWith({
      "front.ts": simpleCache("front", 90),
      "middle.ts": simpleCache("middle", 60),
      "back.ts": simpleCache("back", 30),
    })
  })

  afterAll(() => gateway?.stop())

  test("are all filled, and asked by priority until one has the reply", async () => {
    await ask(gateway, "several")
    await waitFor("all to be filled", () => calls(gateway).length === 6)
    expect(calls(gateway).slice(0, 3)).toEqual(["front get", "middle get", "back get"])
    expect(calls(gateway).slice(3).toSorted()).toEqual(["back set", "front set", "middle set"])
    expect(await ask(gateway, "several")).toBe("hit")
    expect(calls(gateway).slice(6)).toEqual(["front get"])
  })

  test("get a copy from the one that has the reply, if they were asked before it", async () => {
    await clear(gateway, "front")
    await clear(gateway, "middle")
    const before = calls(gateway).length
    expect(await ask(gateway, "several")).toBe("hit")
    await waitFor("the copies", () => calls(gateway).length === before + 5)
    expect(calls(gateway).slice(before, before + 3)).toEqual(["front get", "middle get", "back get"])
    expect(
      calls(gateway)
        .slice(before + 3)
        .toSorted(),
    ).toEqual(["front set", "middle set"])
    expect(await ask(gateway, "several")).toBe("hit")
    expect(calls(gateway).at(-1)).toBe("front get")
  })

  test("are only copied into where that is needed", async () => {
    await clear(gateway, "back")
    const before = calls(gateway).length
    expect(await ask(gateway, "several")).toBe("hit")
    expect(await ask(gateway, "several")).toBe("hit")
    expect(calls(gateway).slice(before)).toEqual(["front get", "front get"])
  })
})

describe("a cached reply", () => {
  let gateway: RunningGateway

  beforeAll(async () => {
    gateway = await gatewayWith({ "simple.ts": simpleCache("simple", 50), "counter.ts": COUNTER })
  })

  afterAll(() => gateway?.stop())

  test.each([false, true])("passes transforms and hooks like a fresh one (streamed: %p)", async (stream) => {
    const texts: string[] = []
    const kept = () => calls(gateway).filter((call) => call === "simple set").length
    const before = kept()
    for (const expected of ["miss", "hit", "hit"]) {
      const response = await postChat(gateway.url, { model: "good", prompt: `hooks ${stream}`, stream })
      expect(response.headers.get("x-leapgate-cache")).toBe(expected)
      texts.push(stream ? (await readWholeStream(response)).text : await textOf(response))
      await waitFor("the reply to be kept", () => kept() > before)
    }
    const numbers = texts.map((text) => Number(/^ANSWER NUMBER (\d+), AND WHOLE$/.exec(text)?.[1]))
    const [first = 0] = numbers
    expect(numbers).toEqual([first, first + 1, first + 2])
  })
})

describe("a cache plugin that breaks its word", () => {
  test.each<[string, Partial<Record<Ability, string>>]>([
    ["throws", { get: 'throw new Error("no")', set: 'throw new Error("no")' }],
    ["rejects with an error of the gateway", { get: REJECTION, set: REJECTION }],
    ["never settles", { get: "return new Promise(() => {})", set: "return new Promise(() => {})" }],
    ["gives rubbish", { get: 'return "rubbish"' }],
    ["gives damaged entries", { get: "return entries.get(key)?.slice(0, -1)" }],
    ["gives the bytes of another", { get: "return new Uint8Array([1, 2, 3])" }],
  ])("and %s costs no request its answer", async (_, bodies) => {
    await using gateway = await gatewayWith(
      { "bad.ts": simpleCache("bad", 50, bodies) },
      { bad: { timeout: "100ms" } },
    )
    for (const stream of [false, true, false, true]) {
      const response = await postChat(gateway.url, { model: "good", stream })
      expect(response.status).toBe(200)
      expect(response.headers.get("x-leapgate-cache")).toBe("miss")
      expect(await response.text()).toContain("and whole")
    }
  })

  test("and gives a plain reply for a stream is not believed", async () => {
    await using gateway = await gatewayWith({
      "bad.ts": simpleCache("bad", 50, { get: "return [...entries.values()][0]" }),
    })
    expect(await ask(gateway, "one")).toBe("miss")
    await waitFor("the reply to be kept", () => calls(gateway).includes("bad set"))
    const response = await postChat(gateway.url, { model: "good", prompt: "one", stream: true })
    expect(response.headers.get("x-leapgate-cache")).toBe("miss")
    expect(await readWholeStream(response)).toMatchObject({ isDone: true, garbage: [] })
    expect(await ask(gateway, "one")).toBe("hit")
  })

  test("has its failures counted, with the reason", async () => {
    await using gateway = await gatewayWith({
      "bad.ts": simpleCache("bad", 50, {
        get: 'throw new Error("a reason")',
        set: 'throw new Error("full")',
      }),
    })
    await ask(gateway, "counted")
    await waitFor("the failure to be told", async () => {
      const info = (await (await fetch(`${gateway.adminUrl}/plugins/bad`)).json()) as {
        metrics: { errors: number; last_error: { message: string } }
      }
      return info.metrics.errors === 2 && info.metrics.last_error.message === "cache.set: full"
    })
    expect(gateway.logs()).toContain('"hook":"cache.get"')
  })

  test("fails the request where it is set to fail closed", async () => {
    await using gateway = await gatewayWith(
      { "bad.ts": simpleCache("bad", 50, { get: 'throw new Error("no")' }) },
      { bad: { on_error: "closed" } },
    )
    const response = await postChat(gateway.url, { model: "good" })
    expect(response.status).toBe(503)
    expect(await response.text()).toContain('"plugin_failed"')
  })

  test.each<[string, Partial<Record<Ability, string>>, string, string]>([
    ["stats", { stats: "return { hits: 1 }" }, "GET", ""],
    ["clear", { clear: 'throw new Error("no")' }, "DELETE", ""],
    ["delete", { delete: "return 1" }, "DELETE", "/some-key"],
  ])("tells operators that %s failed", async (ability, bodies, method, path) => {
    await using gateway = await gatewayWith({ "bad.ts": simpleCache("bad", 50, bodies) })
    const response = await fetch(`${gateway.adminUrl}/plugins/bad/cache${path}`, { method })
    expect(response.status).toBe(503)
    expect(await response.text()).toContain(`plugin \\"bad\\" failed in cache.${ability}`)
  })

  test("that is slow to keep replies delays nobody", async () => {
    await using gateway = await gatewayWith({
      "slow.ts": simpleCache("slow", 50, { set: "return new Promise(() => {})" }),
    })
    const stream = await readWholeStream(await postChat(gateway.url, { model: "good", stream: true }))
    expect(stream).toMatchObject({ isDone: true, end: "clean" })
    await waitFor("the plugin to be asked to keep it", () => calls(gateway).includes("slow set"))
    expect(await ask(gateway, "another")).toBe("miss")
  })
})

type Ability = "get" | "set" | "delete" | "clear" | "stats"

const REJECTION = 'throw new GatewayError("request_rejected", "not for a cache to say", { status: 418 })'

function gatewayWith(
  plugins: Readonly<Record<string, string>>,
  configs: Readonly<Record<string, unknown>> = {},
): Promise<RunningGateway> {
  return startGateway({
    config: {
      providers: [{ name: "up", base_url: upstream.url, models: ["good"] }],
      plugins: { configs },
    },
    plugins,
  })
}

/** Asks, and says whether the reply came from a cache. */
async function ask(gateway: RunningGateway, prompt: string): Promise<string | null> {
  const response = await postChat(gateway.url, { model: "good", prompt })
  expect(await response.text()).toContain("and whole")
  return response.headers.get("x-leapgate-cache")
}

async function textOf(response: Response): Promise<string> {
  const body = (await response.json()) as { choices: { message: { content: string } }[] }
  return body.choices[0]?.message.content ?? ""
}

async function clear(gateway: RunningGateway, name: string): Promise<void> {
  const response = await fetch(`${gateway.adminUrl}/plugins/${name}/cache`, { method: "DELETE" })
  expect(response.status).toBe(200)
}

/** What caches were asked, in order: they log it. */
function calls(gateway: RunningGateway): readonly string[] {
  return [...gateway.logs().matchAll(/"message":"called: (\w+ \w+)"/g)].map(([, call = ""]) => call)
}

/** A cache in a map that logs when it is asked and filled. */
function simpleCache(name: string, priority: number, bodies: Partial<Record<Ability, string>> = {}): string {
  return `import { definePlugin, GatewayError } from "leapgate/plugin"
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "cache",
  setup({ log }) {
    const entries = new Map()
    return {
      priority: ${priority},
      distributed: false,
      get(key) { log.info("called: ${name} get"); ${bodies.get ?? "return entries.get(key)"} },
      set(key, value) { log.info("called: ${name} set"); ${bodies.set ?? "entries.set(key, value)"} },
      delete(key) { ${bodies.delete ?? "return entries.delete(key)"} },
      clear() { ${bodies.clear ?? "entries.clear()"} },
      stats() { ${
        bodies.stats ??
        "return { hits: 0, misses: 0, sets: 0, deletes: 0, sizeBytes: 0, entries: entries.size, evictions: 0 }"
      } },
    }
  },
})`
}

/** Shows that a text passed it, and a transform before it. */
const COUNTER = `import { definePlugin } from "leapgate/plugin"
let n = 0
const upper = (part) => ({ ...part, content: part.content?.toUpperCase() })
export default definePlugin({
  name: "counter", version: "1.0.0", type: "transform",
  setup: () => ({
    supportsFormat: () => true,
    transformResponse: (response) => ({
      ...response, choices: response.choices.map((choice) => ({ ...choice, message: upper(choice.message) })),
    }),
    transformChunk: (chunk) => ({
      ...chunk, choices: chunk.choices.map((choice) => ({ ...choice, delta: upper(choice.delta) })),
    }),
    hooks: {
      onText({ text, isFinal }) {
        if (isFinal && text.includes("{N}")) return text.replace("{N}", String(++n))
      },
    },
  }),
})`
