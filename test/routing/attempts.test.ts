import { describe, expect, test } from "bun:test"
import { type Clock, systemClock } from "../../src/clock.ts"
import { GatewayError } from "../../src/errors.ts"
import type { ProviderAbilities, ProviderCall } from "../../src/plugin/contract.ts"
import { type AttemptOptions, attempt } from "../../src/routing/attempts.ts"
import type { Candidate } from "../../src/routing/catalog.ts"
import { CHAT } from "../../src/routing/operation.ts"
import { configuredProvider, DEFAULT_TIMEOUTS, type ProviderTimeouts } from "../../src/routing/provider.ts"

const COMPLETION = '{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}'
const ok = () => new Response(COMPLETION, { headers: { "content-type": "application/json" } })
const failing = (status: number, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify({ error: { message: `no: ${status}` } }), { status, headers })

function candidate(
  name: string,
  chat: ProviderAbilities["chat"],
  timeouts: ProviderTimeouts = DEFAULT_TIMEOUTS,
): Candidate {
  return {
    provider: configuredProvider(name, { models: ["m"], chat }, timeouts),
    model: "m",
    info: { id: "m" },
  }
}

/** A clock on which pauses take no time; they are noted. */
function hurriedClock(): Clock & { readonly pauses: number[] } {
  const pauses: number[] = []
  return { ...systemClock, pauses, sleep: async (ms) => void pauses.push(ms) }
}

function setUp(candidates: readonly Candidate[], overrides: Partial<AttemptOptions> = {}) {
  const log: string[] = []
  const clock = hurriedClock()
  const options: AttemptOptions = {
    operation: CHAT,
    clock,
    candidates,
    maxRetries: 3,
    failover: "enabled",
    stream: false,
    clientSignal: new AbortController().signal,
    makeCall: ({ number, signal }) =>
      ({ attempt: number, signal, model: "m", stream: overrides.stream ?? false }) as unknown as ProviderCall,
    onAttempt: ({ candidate: { provider }, number }) => log.push(`${number} ${provider.name}`),
    onFailure: ({ candidate: { provider }, error }) => log.push(`${provider.name} failed: ${error.code}`),
    onSwitch: ({ from, to, reason }) => log.push(`${from.provider.name} -> ${to.provider.name}: ${reason}`),
    ...overrides,
  }
  return { options, log, clock }
}

async function failureOf(options: AttemptOptions): Promise<GatewayError> {
  const outcome = await attempt(options).catch((thrown: unknown) => thrown)
  if (outcome instanceof GatewayError) return outcome
  throw new Error("the attempt did not fail with a GatewayError")
}

describe("failover", () => {
  test("a failing provider is left for the next one, and the switch is told", async () => {
    const { options, log, clock } = setUp([candidate("a", () => failing(500)), candidate("b", ok)])
    const { candidate: chosen } = await attempt(options)
    expect(chosen.provider.name).toBe("b")
    expect(log).toEqual(["1 a", "a failed: upstream_server_error", "a -> b: failover", "2 b"])
    expect(clock.pauses).toEqual([])
  })

  test.each([
    [429, "rate_limit"],
    [500, "failover"],
    [401, "failover"],
    [404, "failover"],
    [504, "performance"],
  ])("status %i is a reason to go on: %s", async (status, reason) => {
    const { options, log } = setUp([candidate("a", () => failing(status)), candidate("b", ok)])
    await attempt(options)
    expect(log).toContain(`a -> b: ${reason}`)
  })

  test.each([400, 422])("status %i is the caller's fault and is not tried elsewhere", async (status) => {
    const { options, log } = setUp([candidate("a", () => failing(status)), candidate("b", ok)])
    const error = await failureOf(options)
    expect(error).toMatchObject({ code: "upstream_rejected", status })
    expect(log).not.toContain("2 b")
  })

  test("with failover disabled only the first provider is tried", async () => {
    const { options, log } = setUp([candidate("a", () => failing(401)), candidate("b", ok)], {
      failover: "disabled",
    })
    expect((await failureOf(options)).code).toBe("upstream_auth_failed")
    expect(log).not.toContain("2 b")
  })

  test("when all fail, the error lists each provider's reason", async () => {
    const { options } = setUp([candidate("a", () => failing(500)), candidate("b", () => failing(401))], {
      maxRetries: 1,
    })
    const error = await failureOf(options)
    expect(error.code).toBe("all_providers_failed")
    expect(error.details).toMatchObject({
      failure_reasons: [
        { provider: "a", code: "upstream_server_error" },
        { provider: "b", code: "upstream_auth_failed" },
      ],
    })
  })
})

describe("retries", () => {
  test("a single provider is tried again after pauses that double", async () => {
    const { options, clock } = setUp([candidate("a", () => failing(503))])
    await failureOf(options)
    const [first = 0, second = 0, third = 0] = clock.pauses
    expect(clock.pauses).toHaveLength(3)
    for (const [pause, expected] of [
      [first, 100],
      [second, 200],
      [third, 400],
    ] as const) {
      expect(Math.abs(pause - expected)).toBeLessThanOrEqual(expected * 0.1)
    }
  })

  test("a provider that recovers answers", async () => {
    let calls = 0
    const { options, log } = setUp([candidate("a", () => (++calls < 3 ? failing(503) : ok()))])
    await attempt(options)
    expect(log.at(-1)).toBe("3 a")
  })

  test("max_retries bounds the attempts over all providers", async () => {
    const down = () => failing(500)
    const { options, log } = setUp([candidate("a", down), candidate("b", down)], { maxRetries: 2 })
    await failureOf(options)
    expect(log.filter((line) => /^\d/.test(line))).toEqual(["1 a", "2 b", "3 a"])
  })

  test("a short retry-after is waited for", async () => {
    let calls = 0
    const limited = () => (++calls === 1 ? failing(429, { "retry-after": "1" }) : ok())
    const { options, clock } = setUp([candidate("a", limited)])
    await attempt(options)
    expect(clock.pauses).toEqual([1000])
  })

  test("a long retry-after is the client's to wait for", async () => {
    const { options, clock, log } = setUp([candidate("a", () => failing(429, { "retry-after": "60" }))])
    const error = await failureOf(options)
    expect(error).toMatchObject({ code: "upstream_rate_limited", status: 429, retryAfterMs: 60_000 })
    expect(clock.pauses).toEqual([])
    expect(log.filter((line) => /^\d/.test(line))).toEqual(["1 a"])
  })

  test.each([401, 404])("status %i is not asked of the same provider again", async (status) => {
    const { options, log } = setUp([candidate("a", () => failing(status))])
    await failureOf(options)
    expect(log.filter((line) => /^\d/.test(line))).toEqual(["1 a"])
  })
})

describe("replies that are none", () => {
  test.each([
    ["an HTML page", () => new Response("<html>busy</html>", { headers: { "content-type": "text/html" } })],
    [
      "a JSON object that was cut off",
      () => new Response('{"choices":[{"index":0', { headers: { "content-type": "application/json" } }),
    ],
    ["an empty body", () => new Response("")],
    ["a number", (): never => 5 as never],
    ["nothing", (): never => undefined as never],
  ])("%s is tried elsewhere", async (_, chat) => {
    const { options, log } = setUp([candidate("a", chat), candidate("b", ok)])
    expect((await attempt(options)).candidate.provider.name).toBe("b")
    expect(log).toContain("a failed: upstream_invalid_reply")
  })
})

describe("time limits", () => {
  const quick = { firstTokenMs: 20, betweenChunksMs: 20, totalMs: 20 }
  const obeying: ProviderAbilities["chat"] = ({ signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))

  test("a provider that does not finish is left for the next one", async () => {
    const { options, log } = setUp([candidate("a", obeying, quick), candidate("b", ok)])
    await attempt(options)
    expect(log).toContain("a -> b: performance")
  })

  test("a stream without a first event is left for the next one", async () => {
    const silent = ({ signal }: ProviderCall) => {
      const body = new ReadableStream({
        start: (controller) => signal.addEventListener("abort", () => controller.error(signal.reason)),
      })
      return new Response(body, { headers: { "content-type": "text/event-stream" } })
    }
    const answering = () =>
      new Response("data: {}\n\ndata: [DONE]\n\n", { headers: { "content-type": "text/event-stream" } })
    const { options, log } = setUp([candidate("a", silent, quick), candidate("b", answering)], {
      stream: true,
    })
    const answer = await attempt(options)
    expect(log).toContain("a failed: upstream_timeout")
    expect(answer.reply.kind).toBe("stream")
    answer.release()
  })

  test("a client that leaves ends the attempt at once, and nothing else is tried", async () => {
    const client = new AbortController()
    const { options, log } = setUp([candidate("a", obeying), candidate("b", ok)], {
      clientSignal: client.signal,
    })
    const pending = failureOf(options)
    client.abort()
    expect((await pending).code).toBe("client_closed_request")
    expect(log).toEqual(["1 a"])
  })
})
