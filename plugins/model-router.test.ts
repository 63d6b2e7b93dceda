import { describe, expect, test } from "bun:test"
import type { AvailableProvider, RouteRequest } from "leapgate/plugin"
import { ANONYMOUS, setUpPlugin } from "../test/plugin-context.ts"
import modelRouter from "./model-router.ts"

const AVAILABLE: readonly AvailableProvider[] = [
  { name: "groq", models: [{ id: "llama-3" }, { id: "vendor/mixtral" }] },
  { name: "local", models: [] },
]

interface Asked {
  readonly model?: string
  readonly bodyBytes?: number
  readonly headers?: Record<string, string>
}

/** What the router chooses; undefined where it passes. */
async function choose(rules: readonly unknown[], asked: Asked): Promise<string | undefined> {
  const { abilities } = await setUpPlugin(modelRouter, { config: { rules } })
  const request = requestOf(asked)
  if (!(await abilities.routeRequest(request))) return undefined
  return abilities.selectProvider(request, AVAILABLE)
}

function requestOf({ model = "gpt-4o", bodyBytes = 500, headers = {} }: Asked): RouteRequest {
  return {
    operation: "chat",
    requestId: "request-1",
    model,
    provider: undefined,
    stream: false,
    messages: [{ role: "user", content: "hello" }],
    bodyBytes,
    headers: new Headers(headers),
    metadata: {},
    principal: ANONYMOUS,
    userId: undefined,
    signal: new AbortController().signal,
  }
}

describe("rules", () => {
  test("the first rule that fits wins", async () => {
    const rules = [
      { when: { model: "claude-*" }, to: "groq" },
      { when: { model: "gpt-*" }, to: "groq/llama-3" },
      { to: "local" },
    ]
    expect(await choose(rules, { model: "gpt-4o" })).toBe("groq/llama-3")
    expect(await choose(rules, { model: "claude-3" })).toBe("groq")
    expect(await choose(rules, { model: "other" })).toBe("local")
  })

  test("without a rule that fits it passes", async () => {
    expect(await choose([], {})).toBeUndefined()
    expect(await choose([{ when: { model: "claude-*" }, to: "groq" }], {})).toBeUndefined()
  })

  test("all conditions of a rule must hold", async () => {
    const rules = [{ when: { model: "gpt-*", min_prompt_bytes: 1000 }, to: "groq" }]
    expect(await choose(rules, { model: "gpt-4o", bodyBytes: 1000 })).toBe("groq")
    expect(await choose(rules, { model: "gpt-4o", bodyBytes: 999 })).toBeUndefined()
    expect(await choose(rules, { model: "other", bodyBytes: 1000 })).toBeUndefined()
  })

  test("sizes include their bounds", async () => {
    const rules = [{ when: { min_prompt_bytes: 10, max_prompt_bytes: 20 }, to: "groq" }]
    const chosen = await Promise.all([9, 10, 20, 21].map((bodyBytes) => choose(rules, { bodyBytes })))
    expect(chosen).toEqual([undefined, "groq", "groq", undefined])
  })

  test("a header is there, equals, or matches", async () => {
    const byHeader = (header: object, headers: Record<string, string>) =>
      choose([{ when: { header }, to: "groq" }], { headers })
    expect(await byHeader({ name: "X-Tier" }, { "x-tier": "anything" })).toBe("groq")
    expect(await byHeader({ name: "X-Tier" }, {})).toBeUndefined()
    expect(await byHeader({ name: "x-tier", equals: "gold" }, { "X-Tier": "gold" })).toBe("groq")
    expect(await byHeader({ name: "x-tier", equals: "gold" }, { "x-tier": "golden" })).toBeUndefined()
    expect(await byHeader({ name: "x-tier", matches: "gold*" }, { "x-tier": "golden" })).toBe("groq")
    expect(await byHeader({ name: "x-tier", matches: "gold*" }, { "x-tier": "silver" })).toBeUndefined()
  })
})

describe("patterns", () => {
  test.each([
    ["gpt-4o", "gpt-4o", true],
    ["gpt-4o", "gpt-4o-mini", false],
    ["*", "", true],
    ["*", "meta/llama-3", true],
    ["gpt-*", "gpt-", true],
    ["*-mini", "gpt-4o-mini", true],
    ["*-mini", "gpt-4o-mini-2", false],
    ["meta/*-70b*", "meta/llama-3-70b-instruct", true],
    ["a*a", "a", false],
    ["a*a", "aa", true],
    ["ab*ba", "aba", false],
    ["*a*b*", "b a", false],
    ["*a*b*", "-a-b-", true],
    ["a**b", "ab", true],
    ["gpt.4o", "gpt-4o", false],
    ["[ab]", "a", false],
  ])("%s against %s: %p", async (pattern, model, isMatch) => {
    expect(await choose([{ when: { model: pattern }, to: "groq" }], { model })).toBe(
      isMatch ? "groq" : undefined,
    )
  })

  test("no pattern takes for ever", async () => {
    const rules = [{ when: { model: `${"a*".repeat(200)}b` }, to: "groq" }]
    expect(await choose(rules, { model: "a".repeat(100_000) })).toBeUndefined()
  })
})

describe("targets", () => {
  test.each([
    ["groq", true],
    ["groq/llama-3", true],
    ["groq/vendor/mixtral", true],
    ["groq/unknown", false],
    ["local/whatever", true],
    ["nobody", false],
    ["nobody/llama-3", false],
    ["/llama-3", false],
  ])("%s is served: %p", async (to, isServed) => {
    expect(await choose([{ to }], {})).toBe(isServed ? to : undefined)
  })

  test("a target that nobody serves is told once", async () => {
    const { abilities, lines } = await setUpPlugin(modelRouter, { config: { rules: [{ to: "nobody" }] } })
    for (let count = 0; count < 3; count++) abilities.selectProvider(requestOf({}), AVAILABLE)
    expect(lines).toMatchObject([{ level: "warn", to: "nobody" }])
  })
})

test.each([
  { rules: [{ when: {} }] },
  { rules: [{ to: "" }] },
  { rules: [{ when: { modell: "x" }, to: "groq" }] },
])("%j is refused", async (config) => {
  expect(setUpPlugin(modelRouter, { config })).rejects.toThrow("plugins.configs.model-router.config.rules[0]")
})
