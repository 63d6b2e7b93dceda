import { describe, expect, test } from "bun:test"
import {
  GatewayError,
  type MiddlewareAbilities,
  type MiddlewareContext,
  type Principal,
} from "leapgate/plugin"
import { createMemoryStore, type StateStore } from "../src/state/store.ts"
import { ANONYMOUS, setUpPlugin } from "../test/plugin-context.ts"
import { manualClock } from "../test/state/manual-clock.ts"
import rateLimiter from "./rate-limiter.ts"

interface Caller {
  readonly clientIp?: string
  readonly principal?: Principal
  readonly headers?: Record<string, string>
}

interface Outcome {
  readonly headers: Headers
  readonly error: GatewayError | undefined
}

const KEY: Principal = { ...ANONYMOUS, name: "team-a", via: "key" }
const USER: Principal = { ...ANONYMOUS, name: "sso", via: "plugin", userId: "user-1" }

const limiter = async (config: Record<string, unknown>, state?: StateStore) =>
  (await setUpPlugin(rateLimiter, { config, ...(state === undefined ? {} : { state }) })).abilities

async function ask(abilities: MiddlewareAbilities, caller: Caller = {}): Promise<Outcome> {
  const headers = new Headers()
  try {
    await abilities.beforeHandle?.(contextOf(caller, headers))
    return { headers, error: undefined }
  } catch (thrown) {
    if (!(thrown instanceof GatewayError)) throw thrown
    return { headers, error: thrown }
  }
}

function contextOf(
  { clientIp = "10.0.0.1", principal = ANONYMOUS, headers }: Caller,
  reply: Headers,
): MiddlewareContext {
  return {
    requestId: "request-1",
    traceId: "0".repeat(32),
    generation: 1,
    method: "POST",
    path: "/v1/chat/completions",
    headers: new Headers(headers),
    clientIp,
    principal,
    signal: new AbortController().signal,
    setHeader: (name, value) => reply.set(name, value),
    values: new Map(),
  }
}

describe("the limit", () => {
  test("as many requests pass as are allowed, and the next one is refused", async () => {
    const abilities = await limiter({ max_requests: 3 })
    const outcomes = [await ask(abilities), await ask(abilities), await ask(abilities), await ask(abilities)]
    expect(outcomes.map(({ error }) => error?.code)).toEqual([
      undefined,
      undefined,
      undefined,
      "rate_limit_exceeded",
    ])
    expect(outcomes.map(({ headers }) => headers.get("x-ratelimit-remaining"))).toEqual(["2", "1", "0", "0"])
    expect(outcomes.map(({ headers }) => headers.get("x-ratelimit-limit"))).toEqual(["3", "3", "3", "3"])
  })

  test("a refusal says when to come back", async () => {
    const clock = manualClock(Date.now())
    const abilities = await limiter({ max_requests: 1, window: "1m" }, createMemoryStore({ clock }))
    await ask(abilities)
    const { error, headers } = await ask(abilities)
    const resetSeconds = Math.ceil((clock.now() + 60_000) / 1000)
    expect(headers.get("x-ratelimit-reset")).toBe(String(resetSeconds))
    expect(error?.status).toBe(429)
    expect(error?.retryAfterMs).toBeGreaterThan(50_000)
    expect(error?.retryAfterMs).toBeLessThanOrEqual(60_000)
    expect(error?.details).toEqual({ retry_after: expect.any(Number), limit: 1, reset: resetSeconds })
  })

  test("a new window begins with the first request after the old one", async () => {
    const clock = manualClock()
    const abilities = await limiter({ max_requests: 1, window: "10s" }, createMemoryStore({ clock }))
    expect((await ask(abilities)).error).toBeUndefined()
    clock.advance(9_999)
    expect((await ask(abilities)).error?.code).toBe("rate_limit_exceeded")
    clock.advance(1)
    expect((await ask(abilities)).error).toBeUndefined()
  })

  test("counts outlive a reload, and the new limit holds at once", async () => {
    const state = createMemoryStore({ clock: manualClock() })
    const before = await setUpPlugin(rateLimiter, { config: { max_requests: 100 }, state })
    for (let count = 0; count < 5; count++) await ask(before.abilities)
    await before.dispose()
    const after = await limiter({ max_requests: 6 }, state)
    expect((await ask(after)).headers.get("x-ratelimit-remaining")).toBe("0")
    expect((await ask(after)).error?.code).toBe("rate_limit_exceeded")
  })

  test("it answers without a promise where the store does", async () => {
    const abilities = await limiter({})
    expect(abilities.beforeHandle?.(contextOf({}, new Headers()))).toBeUndefined()
  })

  test("it waits for a store that answers later", async () => {
    const memory = createMemoryStore({ clock: manualClock() })
    const later: StateStore = {
      ...memory,
      increment: async (key, options) => memory.increment(key, options),
      namespace: () => later,
    }
    const abilities = await limiter({ max_requests: 1 }, later)
    expect((await ask(abilities)).headers.get("x-ratelimit-remaining")).toBe("0")
    expect((await ask(abilities)).error?.code).toBe("rate_limit_exceeded")
  })
})

describe("who a client is", () => {
  const firstOf = async (identifier: string, one: Caller, other: Caller) => {
    const abilities = await limiter({ max_requests: 1, identifier })
    await ask(abilities, one)
    return (await ask(abilities, other)).error === undefined ? "another" : "the same"
  }

  const near = { clientIp: "10.0.0.1" }
  const far = { clientIp: "10.0.0.2" }

  test.each<[string, string, string, Caller, Caller]>([
    ["ip", "two addresses are", "another", near, far],
    ["ip", "two names at one address are", "the same", { principal: KEY }, { principal: USER }],
    [
      "api_key",
      "a key used at two addresses is",
      "the same",
      { principal: KEY, ...near },
      { principal: KEY, ...far },
    ],
    ["api_key", "another key is", "another", { principal: KEY }, { principal: { ...KEY, name: "team-b" } }],
    [
      "user_id",
      "a user at two addresses is",
      "the same",
      { principal: USER, ...near },
      { principal: USER, ...far },
    ],
    [
      "user_id",
      "another user is",
      "another",
      { principal: USER },
      { principal: { ...USER, userId: "user-2" } },
    ],
    [
      "user_id",
      "a key without a user is",
      "the same",
      { principal: KEY, ...near },
      { principal: KEY, ...far },
    ],
    // Or one nameless caller would use up everybody's share.
    ["api_key", "two nameless callers are", "another", near, far],
    ["user_id", "a nameless caller is", "the same", near, near],
    [
      "user_id",
      "a user called like an address is",
      "another",
      { principal: { ...USER, userId: "10.0.0.1" } },
      near,
    ],
    [
      "user_id",
      "a user called like a key is",
      "another",
      { principal: { ...USER, userId: KEY.name } },
      { principal: KEY },
    ],
  ])("by %s, %s %s", async (identifier, _, expected, one, other) => {
    expect(await firstOf(identifier, one, other)).toBe(expected)
  })

  test.each(["ip", "api_key", "user_id"])(
    "by %s, made-up headers do not make another client",
    async (identifier) => {
      const spoof = (name: string) => ({ "x-user-id": name, "x-api-key": name, "x-forwarded-for": name })
      expect(await firstOf(identifier, { headers: spoof("a") }, { headers: spoof("b") })).toBe("the same")
    },
  )
})

describe("settings", () => {
  test("the routes from the configuration are the ones used", async () => {
    expect((await limiter({ routes: ["/v1/chat/*"] })).routes).toEqual(["/v1/chat/*"])
    expect((await limiter({})).routes).toEqual(["/v1/*", "/api/*"])
  })

  test("a window of no time is refused", async () => {
    await expect(limiter({ window: "0s" })).rejects.toThrow('window must be at least "1ms"')
  })

  test.each([
    { max_requests: 0 },
    { max_requests: 1.5 },
    { window: "soon" },
    { identifier: "name" },
    { limit: 5 },
  ])("%j is refused", async (config) => {
    expect(limiter(config)).rejects.toThrow("plugins.configs.rate-limiter.config")
  })
})
