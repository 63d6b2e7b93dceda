/** Cache plugins on live traffic, seen from the client, the provider and the operator. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { completion, sseEvent, streamedAnswer } from "../support/completions.ts"
import { embeddings, postEmbeddings } from "../support/embeddings.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, type Script, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readStream, readWholeStream } from "../support/streamed-reply.ts"
import { answers, pausesMidway, refuses } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"
import { chunked, json, LAST_CHUNK, streamHead } from "../support/wire.ts"

const CACHE = "/plugins/memory-cache/cache"
const TOKEN = { authorization: "Bearer admin-token" }

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine ", "and ", "whole"]))
  gateway = await startGateway({
    config: {
      admin: { token: "admin-token" },
      providers: [{ name: "up", base_url: upstream.url, models: ["good", "flaky", "slow", "huge"] }],
      routing: { max_retries: 0 },
      plugins: { configs: { "memory-cache": { config: { max_entry: "64MiB" } } } },
    },
    plugins: { "observer.ts": OBSERVER },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

test("embeddings are kept too, apart from chats", async () => {
  upstream.script("huge", ({ write }) => write(json(200, JSON.stringify(embeddings("huge", [1, 0])))))
  const ask = () => postEmbeddings(gateway.url, { model: "huge", input: "again" })
  const first = await ask()
  expect(first.headers.get("x-leapgate-cache")).toBe("miss")
  const body = await first.text()
  const again = await waitFor("a hit", async () => {
    const response = await ask()
    return response.headers.get("x-leapgate-cache") === "hit" ? response : undefined
  })
  expect(await again.text()).toBe(body)
})

describe("a plain reply", () => {
  test("is given again byte for byte, without asking the provider", async () => {
    const prompt = "plain again"
    const first = await ask({ prompt })
    const again = await ask({ prompt })
    expect([first.cache, again.cache]).toEqual(["miss", "hit"])
    expect(again.body).toBe(first.body)
    expect(JSON.parse(again.body)).toEqual(completion("good", "fine and whole"))
    expect(again.contentType).toBe("application/json")
    expect(askedFor(prompt)).toBe(1)
  })

  test("says its age on a hit, and only there", async () => {
    const first = await ask({ prompt: "age" })
    expect(first.age).toBeNull()
    expect((await ask({ prompt: "age" })).age).toMatch(/^\d$/)
  })

  test("is found for an equal request that is written differently, by another user", async () => {
    await ask({ prompt: "equal", temperature: 0.5, top_p: 1, user: "a" })
    const same = await ask({ prompt: "equal", top_p: 1, stop: null, user: "b", temperature: 0.5 })
    const other = await ask({ prompt: "equal", temperature: 0.6, top_p: 1 })
    expect([same.cache, other.cache]).toEqual(["hit", "miss"])
  })
})

describe("a stream", () => {
  test("is given again as a stream, event for event", async () => {
    const request = { prompt: "stream again", stream: true }
    const first = await ask(request)
    const again = await ask(request)
    expect([first.cache, again.cache]).toEqual(["miss", "hit"])
    expect(again.body).toBe(first.body)
    expect(again.body).toBe(streamedAnswer("good", ["fine ", "and ", "whole"]).join(""))
    expect(again.contentType).toContain("text/event-stream")
    expect(again.age).toMatch(/^\d$/)
    expect(askedFor("stream again")).toBe(1)
  })

  test("and a plain reply to the same request are two entries", async () => {
    await ask({ prompt: "both", stream: true })
    const plain = await ask({ prompt: "both" })
    expect(plain.cache).toBe("miss")
    expect((await ask({ prompt: "both", stream: true })).body).toContain("[DONE]")
    expect(JSON.parse((await ask({ prompt: "both" })).body)).toMatchObject({ object: "chat.completion" })
  })

  test("that is long is given again whole", async () => {
    const words = Array.from({ length: 4000 }, (_, index) => `word ${index} `)
    upstream.script("slow", answers(words))
    const request = { model: "slow", prompt: "long", stream: true }
    const first = await ask(request)
    const again = await readWholeStream(await post(request))
    expect(again).toMatchObject({ text: words.join(""), isDone: true, end: "clean" })
    expect((await ask(request)).body).toBe(first.body)
  })
})

describe("cache-control", () => {
  const withControl = (control: string) => ({
    prompt: `control ${control}`,
    headers: { "cache-control": control },
  })

  test("no-store is neither looked up nor kept", async () => {
    const request = withControl("no-store")
    for (const stream of [false, true]) {
      expect((await askOnce({ ...request, stream })).cache).toBe("bypass")
      expect((await askOnce({ ...request, stream })).cache).toBe("bypass")
      await everythingIsKept()
      expect((await ask({ prompt: request.prompt, stream })).cache).toBe("miss")
    }
  })

  test("no-cache is not looked up, but kept", async () => {
    const request = withControl("no-cache")
    expect((await ask(request)).cache).toBe("bypass")
    expect((await ask({ prompt: request.prompt })).cache).toBe("hit")
    expect((await ask(request)).cache).toBe("bypass")
    expect(askedFor(request.prompt)).toBe(2)
  })

  test("max-age takes entries that are young enough", async () => {
    const prompt = "control age"
    await ask({ prompt })
    expect((await askOnce({ prompt, headers: { "cache-control": "max-age=3600" } })).cache).toBe("hit")
    await waitFor("the entry to be older than no time at all", async () => {
      return (await askOnce({ prompt, headers: { "cache-control": "max-age=0" } })).cache === "miss"
    })
  })
})

describe("what is never kept", () => {
  test("a failure", async () => {
    await expectNotKept({ prompt: "fails" }, refuses(503))
  })

  test.each<[string, Script]>([
    [
      "that ends before its last event",
      async ({ write }) => {
        const events = streamedAnswer("flaky", ["some ", "words"]).slice(0, -2)
        await write(streamHead() + events.map(chunked).join("") + LAST_CHUNK)
      },
    ],
    [
      "whose connection breaks",
      async ({ write, reset }) => {
        await write(streamHead() + streamedAnswer("flaky", ["some "]).slice(0, 2).map(chunked).join(""))
        reset()
      },
    ],
    [
      "with an error event",
      async ({ write }) => {
        const events = [
          ...streamedAnswer("flaky", ["some "]).slice(0, 2),
          sseEvent({ error: { message: "no" } }),
        ]
        await write(streamHead() + events.map(chunked).join("") + LAST_CHUNK)
      },
    ],
  ])("a stream %s", async (what, script) => {
    await expectNotKept({ prompt: what, stream: true }, script)
  })

  test("a stream whose client left", async () => {
    upstream.script("flaky", pausesMidway(["some ", "words"]))
    const request = { model: "flaky", prompt: "left", stream: true }
    const controller = new AbortController()
    const reader = readStream(await post({ ...request, signal: controller.signal }))
    await reader.untilText()
    controller.abort()
    await waitFor("the provider to be let go", () => {
      return upstream.requests("flaky").at(-1)?.abortedAtMs !== undefined
    })
    upstream.script("flaky", answers())
    await everythingIsKept()
    expect((await ask(request)).cache).toBe("miss")
  })

  test("a reply of more than 8 MiB", async () => {
    upstream.script("huge", async ({ write, request }) => {
      await write(json(200, JSON.stringify(completion(request.model, "x".repeat(9 * 2 ** 20)))))
    })
    expect((await askOnce({ model: "huge" })).cache).toBe("miss")
    await everythingIsKept()
    expect((await askOnce({ model: "huge" })).cache).toBe("miss")
  })

  async function expectNotKept(request: { prompt: string; stream?: boolean }, script: Script) {
    upstream.script("flaky", script, answers())
    expect((await askOnce({ ...request, model: "flaky" })).body).toContain('"error"')
    await everythingIsKept()
    const second = await ask({ ...request, model: "flaky" })
    expect(second.cache).toBe("miss")
    expect((await ask({ ...request, model: "flaky" })).cache).toBe("hit")
  }
})

describe("observers", () => {
  test("are told that a reply comes from a cache, and who answered first", async () => {
    const prompt = "observed"
    await ask({ prompt })
    const response = await post({ prompt, headers: { "x-request-id": "cached-1" } })
    await response.arrayBuffer()
    expect(await observed("onResponse", "cached-1")).toMatchObject({
      cacheHit: true,
      provider: "up",
      attempt: 0,
      tokensUsed: 7,
      responseStatus: 200,
    })
  })

  test("are told how a stream from a cache ended", async () => {
    const request = { prompt: "observed stream", stream: true }
    await ask(request)
    await readWholeStream(await post({ ...request, headers: { "x-request-id": "cached-2" } }))
    const end = await observed("onStreamEnd", "cached-2")
    expect(end).toMatchObject({ outcome: "complete", provider: "up", attempt: 0, events: 5 })
    expect(end.firstTokenMs).toBeUndefined()
    expect(await observed("onResponse", "cached-2")).toMatchObject({ cacheHit: true, tokensUsed: 7 })
  })

  test("of cache events are told of misses, sets, hits and deletions", async () => {
    const prompt = "events"
    await ask({ prompt })
    await ask({ prompt })
    const hit = await observed("onCacheEvent", '"hit"')
    const { key } = hit
    expect(key).toMatch(/^[0-9a-f]{64}$/)
    await admin(`${CACHE}/${key}`, "DELETE")
    await observed("onCacheEvent", '"delete"')
    const told = (await eventsOf("onCacheEvent")).filter((event) => event.key === key)
    expect(told.map(({ eventType }) => eventType)).toEqual(["miss", "set", "hit", "delete"])
    const sizeBytes = told[1]?.sizeBytes
    expect(sizeBytes).toBeGreaterThan(300)
    expect(told[2]).toEqual({ ...hit, plugin: "memory-cache", eventType: "hit", key, sizeBytes })
  })
})

describe("operators", () => {
  test("see what a cache holds, and throw it away", async () => {
    await admin(CACHE, "DELETE")
    await ask({ prompt: "operators" })
    const { body } = await admin(CACHE)
    expect(body).toEqual({
      plugin: "memory-cache",
      distributed: false,
      stats: {
        hits: expect.any(Number),
        misses: expect.any(Number),
        sets: expect.any(Number),
        deletes: expect.any(Number),
        size_bytes: expect.any(Number),
        entries: 1,
        evictions: 0,
      },
    })
    expect(await admin(CACHE, "DELETE")).toMatchObject({
      body: { message: "cache cleared", name: "memory-cache" },
    })
    expect((await admin(CACHE)).body).toMatchObject({ stats: { entries: 0, size_bytes: 0 } })
    expect((await ask({ prompt: "operators" })).cache).toBe("miss")
  })

  test("throw single entries away", async () => {
    await ask({ prompt: "single" })
    await ask({ prompt: "single" })
    const { key } = await observed("onCacheEvent", '"hit"')
    const deleted = { plugin: "memory-cache", key, deleted: true }
    expect(await admin(`${CACHE}/${key}`, "DELETE")).toEqual({ status: 200, body: deleted })
    expect((await admin(`${CACHE}/${key}`, "DELETE")).body).toEqual({ ...deleted, deleted: false })
    expect((await ask({ prompt: "single" })).cache).toBe("miss")
  })

  test.each([
    ["/plugins/observer/cache", 409, "plugin_conflict"],
    ["/plugins/model-router/cache", 409, "plugin_conflict"],
    ["/plugins/memory-cach/cache", 404, "plugin_not_found"],
  ])("%s is %i %s", async (path, status, code) => {
    for (const method of ["GET", "DELETE"]) {
      expect(await admin(path, method)).toMatchObject({ status, body: { error: { code } } })
    }
    expect(await admin(`${path}/some-key`, "DELETE")).toMatchObject({ status, body: { error: { code } } })
  })

  test.each([
    ["GET", CACHE],
    ["DELETE", CACHE],
    ["DELETE", `${CACHE}/some-key`],
  ])("need the token for %s %s", async (method, path) => {
    const response = await fetch(gateway.adminUrl + path, { method })
    expect(response.status).toBe(401)
    expect(response.headers.get("x-request-id")).not.toBeNull()
    expect(await response.text()).toContain('"admin_unauthorized"')
  })

  test("see hits, misses and bypasses in the metrics", async () => {
    const text = await (await fetch(`${gateway.url}/metrics`, { headers: TOKEN })).text()
    for (const result of ["hit", "miss", "bypass"]) {
      expect(text).toMatch(
        new RegExp(`^leapgate_cache_requests_total\\{plugin="memory-cache",result="${result}"\\} [1-9]`, "m"),
      )
    }
  })
})

test("what the provider is asked and answers counts once, however often it is given", async () => {
  const count = async () => {
    const text = await (await fetch(`${gateway.url}/metrics`, { headers: TOKEN })).text()
    return /^leapgate_attempts_total\{provider="up",outcome="answered"\} (\d+)$/m.exec(text)?.[1]
  }
  await ask({ prompt: "counts once" })
  const before = await count()
  await ask({ prompt: "counts once" })
  expect(await count()).toBe(before)
})

test("without a live cache nothing is kept, and nothing is said about it", async () => {
  await ask({ prompt: "off" })
  await admin("/plugins/memory-cache/disable", "POST")
  try {
    for (const stream of [false, true]) {
      const { cache, age } = await askOnce({ prompt: "off", stream })
      expect({ cache, age }).toEqual({ cache: null, age: null })
    }
    expect(await admin(CACHE)).toMatchObject({ status: 409 })
  } finally {
    await admin("/plugins/memory-cache/enable", "POST")
  }
})

interface Asked {
  readonly cache: string | null
  readonly age: string | null
  readonly contentType: string | null
  readonly body: string
}

type Request = Partial<Parameters<typeof postChat>[1]>

function post(request: Request): Promise<Response> {
  return postChat(gateway.url, { model: "good", ...request })
}

async function askOnce(request: Request): Promise<Asked> {
  const response = await post(request)
  const { headers } = response
  return {
    cache: headers.get("x-leapgate-cache"),
    age: headers.get("age"),
    contentType: headers.get("content-type"),
    body: await response.text(),
  }
}

/** Waits until the reply is kept, where it was not in the cache. */
async function ask(request: Request): Promise<Asked> {
  const before = await sets()
  const asked = await askOnce(request)
  if (asked.cache !== "hit") await waitFor("the reply to be kept", async () => (await sets()) > before)
  return asked
}

async function sets(): Promise<number> {
  const { body } = await admin(CACHE)
  return (body as { stats: { sets: number } }).stats.sets
}

/** Replies are kept in the order in which they were sent: when this one is, none is still to come. */
async function everythingIsKept(): Promise<void> {
  await ask({ prompt: crypto.randomUUID() })
}

async function admin(path: string, method = "GET"): Promise<{ status: number; body: unknown }> {
  const response = await fetch(gateway.adminUrl + path, { method, headers: TOKEN })
  return { status: response.status, body: await response.json() }
}

function askedFor(prompt: string): number {
  return upstream.requests().filter(({ body }) => body.includes(JSON.stringify(prompt))).length
}

type Told = Readonly<Record<string, unknown>>

async function observed(hook: string, marker: string): Promise<Told> {
  return await waitFor(`${hook} to be told of ${marker}`, async () => {
    return (await eventsOf(hook)).findLast((event) => JSON.stringify(event).includes(marker))
  })
}

async function eventsOf(hook: string): Promise<readonly Told[]> {
  const response = await fetch(`${gateway.url}/v1/models`, { headers: { "x-tell": hook } })
  await response.arrayBuffer()
  return JSON.parse(response.headers.get("x-told") ?? "[]") as Told[]
}

const OBSERVER = `import { definePlugin } from "leapgate/plugin"
const seen = { onResponse: [], onStreamEnd: [], onCacheEvent: [] }
const note = (hook) => (event) => {
  const { error, response, ...plain } = event
  seen[hook] = [...seen[hook], plain].slice(-12)
}
export default definePlugin({
  name: "observer", version: "1.0.0", type: "middleware",
  setup: () => ({
    beforeHandle(context) {
      const hook = context.headers.get("x-tell")
      if (hook !== null) context.setHeader("x-told", JSON.stringify(seen[hook]))
    },
    hooks: Object.fromEntries(Object.keys(seen).map((hook) => [hook, note(hook)])),
  }),
})`
