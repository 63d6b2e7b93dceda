/**
 * What the original did wrong on the way of a call, in its admin API and in its numbers: each fault has its number,
 * and a test that the original would fail. Those of loading are in original-hosting-faults.test.ts.
 */
import { afterEach, expect, test } from "bun:test"
import { join } from "node:path"
import type { PluginInfo } from "../../src/plugin/plugin-info.ts"
import { METRICS } from "../../src/telemetry/metrics.ts"
import { prometheusNames } from "../../src/telemetry/prometheus.ts"
import { askPlain, errorOf, postChat } from "../support/chat.ts"
import { type GatewayOptions, type RunningGateway, startGateway } from "../support/gateway.ts"
import { waitFor } from "../support/wait.ts"
import { countOf, said, witness } from "./witness.ts"

const open: RunningGateway[] = []

afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.stop()
})

test("fault 8: hooks that hang or throw delay nobody, learn of their deadline, and end no process", async () => {
  const hooks = (body: string) => `hooks: { async onResponse(event, { signal }) { ${body} } }`
  const gateway = await running({
    config: demoWith({ hangs: { timeout: "100ms" }, throws: {} }),
    plugins: {
      "hangs.ts": witness({
        name: "hangs",
        abilities: hooks(
          'await new Promise((resolve) => signal.addEventListener("abort", resolve)); say("told")',
        ),
      }),
      "throws.ts": witness({ name: "throws", abilities: hooks('throw new Error("oh no")') }),
    },
  })
  const pid = gateway.servingPid()
  await askPlain(gateway.url, "demo")
  await waitFor("the hook to hear of its deadline", () => said(gateway.logs()).includes("hangs told"))
  await waitFor("both to be counted", async () => {
    const [hangs, throws] = [await infoOf(gateway, "hangs"), await infoOf(gateway, "throws")]
    return hangs.metrics.timeouts === 1 && throws.metrics.errors === 1
  })
  await askPlain(gateway.url, "demo")
  expect(gateway.servingPid()).toBe(pid)
})

test("fault 9: hooks run by priority, can reject, have an owner, and cannot change what others see", async () => {
  const hook = (name: string, body: string) =>
    witness({ name, abilities: `hooks: { onRequest({ request }) { say("asked"); ${body} } }` })
  const gateway = await running({
    config: demoWith({ first: { priority: 90 }, second: { priority: 80 }, third: { priority: 10 } }),
    plugins: {
      "first.ts": hook("first", 'try { request.messages.length = 0 } catch { say("refused") }'),
      "second.ts": hook(
        "second",
        'if (request.messages[0].content === "no") throw new GatewayError("request_rejected", "not this")',
      ),
      "third.ts": hook("third", ""),
    },
  })
  expect((await postChat(gateway.url, { model: "demo", prompt: "yes" })).status).toBe(200)
  expect(said(gateway.logs()).filter((line) => !line.endsWith("up"))).toEqual([
    "first asked",
    "first refused",
    "second asked",
    "third asked",
  ])
  const rejected = await postChat(gateway.url, { model: "demo", prompt: "no" })
  expect(rejected.status).toBe(403)
  expect(await errorOf(rejected)).toMatchObject({ code: "request_rejected", message: "not this" })
  const { hooks } = (await (await fetch(`${gateway.adminUrl}/plugins/hooks/stats`)).json()) as HookStats
  expect(Object.keys(hooks.onRequest?.plugins ?? {}).sort()).toEqual(["first", "second", "third"])
})

test("fault 13: a middleware's state and priority hold for the very next request; one without abilities is an error", async () => {
  const stamp = (name: string) =>
    witness({
      name,
      type: "middleware",
      abilities: `priority: 50, beforeHandle(context) { say("went in"); context.setHeader("x-last", "${name}") }`,
    })
  const configOf = (priority: number) => `server: { port: 0 }
plugins: { configs: { a: { priority: ${priority} }, b: { priority: 50 } } }`
  const gateway = await running({
    config: configOf(60),
    plugins: {
      "a.ts": stamp("a"),
      "b.ts": stamp("b"),
      "idle.ts": witness({ name: "idle", type: "middleware" }),
    },
  })
  expect(await lastHeader(gateway)).toBe("b")
  await admin(gateway, "b/disable")
  expect(await lastHeader(gateway)).toBe("a")
  await admin(gateway, "b/enable")
  expect(await lastHeader(gateway)).toBe("b")
  await Bun.write(join(gateway.directory, "config.yaml"), configOf(40))
  await waitFor("the new order", async () => (await lastHeader(gateway)) === "a")
  expect((await infoOf(gateway, "idle")).error?.message).toContain("a middleware needs one of")
})

test("fault 15: every hook is told, and every type of plugin is asked", async () => {
  const observers = ["onResponse", "onError", "onProviderSwitch", "onCacheEvent", "onMetric", "onStreamEnd"]
  const observed = observers.map((hook) => `${hook}() { say("${hook}") }`).join(", ")
  const gateway = await running({
    config: {
      ...demoWith({ "memory-cache": {}, broken: {}, guard: {}, rewriter: {}, recorder: {} }),
      models: { backed: ["broken/gone", "example-provider/demo"] },
      routing: { max_retries: 1 },
    },
    plugins: {
      "observer.ts": witness({ name: "observer", abilities: `hooks: { ${observed} }` }),
      "broken.ts": witness({
        name: "broken",
        type: "provider",
        abilities: 'models: ["gone"], chat() { throw new GatewayError("upstream_server_error", "gone") }',
      }),
      "guard.ts": witness({
        name: "guard",
        type: "auth",
        abilities: `authenticate: (token) => token === "open sesame" ? { name: "ali", via: "plugin", roles: [],
          permissions: [], metadata: {} } : undefined, authorize() { say("authorize"); return true }`,
      }),
      "rewriter.ts": witness({
        name: "rewriter",
        type: "transform",
        abilities: 'supportsFormat: () => true, transformRequest() { say("transformRequest") }',
      }),
      "recorder.ts": witness({
        name: "recorder",
        abilities: `recordEvent(batch) { for (const { name } of batch) say("recorded " + name) },
          recordMetric() { say("recordMetric") }, startTrace() { say("startTrace") },
          export() { return "# TYPE recorder_exports counter\\nrecorder_exports_total 1\\n" }`,
      }),
    },
  })
  const headers = { authorization: "Bearer open sesame" }
  const ask = (fields: Parameters<typeof postChat>[1]) => postChat(gateway.url, { headers, ...fields })
  expect((await ask({ model: "demo" })).headers.get("x-leapgate-cache")).toBe("miss")
  await waitFor("the answer to be kept", async () => {
    return (await ask({ model: "demo" })).headers.get("x-leapgate-cache") === "hit"
  })
  await (await ask({ model: "demo", stream: true, prompt: "stream" })).text()
  expect((await ask({ model: "backed", prompt: "switch" })).status).toBe(200)
  expect((await ask({ model: "not-there" })).status).toBe(404)
  const wanted = [
    ...observers.map((hook) => `observer ${hook}`),
    "guard authorize",
    "rewriter transformRequest",
    "recorder recorded onResponse",
    "recorder recordMetric",
    "recorder startTrace",
  ]
  await waitFor(`all of ${wanted}`, () => {
    const lines = said(gateway.logs())
    return wanted.every((line) => lines.includes(line))
  })
  expect(await (await fetch(`${gateway.url}/metrics`)).text()).toContain("recorder_exports_total 1")
})

test("fault 16: a plugin's calls, errors and times are counted, in snake_case, and its last error is text", async () => {
  const gateway = await running({
    config: demoWith({}),
    plugins: {
      "moody.ts": witness({
        name: "moody",
        abilities:
          'hooks: { onRequest({ request }) { if (request.messages[0].content === "fail") throw new Error("moody today") } }',
      }),
    },
  })
  await askPlain(gateway.url, "demo")
  await (await postChat(gateway.url, { model: "demo", prompt: "fail" })).text()
  const { metrics } = await infoOf(gateway, "moody")
  expect(metrics).toMatchObject({ calls: 2, errors: 1, timeouts: 0 })
  expect(metrics.total_time_ms).toBeGreaterThan(0)
  expect(metrics.average_time_ms).toBeCloseTo(metrics.total_time_ms / 2)
  expect(metrics.last_error?.message).toContain("moody today")
  expect(Date.parse(metrics.last_call ?? "")).toBeGreaterThan(Date.now() - 60_000)
})

test("fault 18: the admin API asks for its token, which no API key is and which has no default", async () => {
  const gateway = await running({
    config: { admin: { token: "for-admins" }, auth: { keys: [{ name: "app", key: "for-apps" }] } },
  })
  const status = async (authorization?: string) =>
    (await fetch(`${gateway.adminUrl}/plugins`, authorization ? { headers: { authorization } } : {})).status
  expect(await status()).toBe(401)
  expect(await status("Bearer for-apps")).toBe(401)
  expect(await status("Bearer your-secret-key-change-in-production")).toBe(401)
  expect(await status("Bearer for-admins")).toBe(200)
})

test("fault 19: hooks/stats and a plugin's own pages are told apart, and no plugin may be called hooks", async () => {
  const gateway = await running({
    plugins: { "stats.ts": witness({ name: "stats" }), "hooks.ts": witness({ name: "hooks" }) },
  })
  const stats = (await (await fetch(`${gateway.adminUrl}/plugins/hooks/stats`)).json()) as HookStats
  expect(Object.keys(stats.hooks)).toContain("onRequest")
  expect(await (await fetch(`${gateway.adminUrl}/plugins/stats/metrics`)).json()).toMatchObject({
    plugin: "stats",
  })
  expect((await infoOf(gateway, "hooks")).error?.message).toContain('not "hooks"')
})

test("fault 20: a key is taken as OpenAI's and Anthropic's clients send it, and is limited as one caller", async () => {
  const gateway = await running({
    config: {
      ...demoWith({ "rate-limiter": { config: { max_requests: 3, identifier: "api_key" } } }),
      auth: {
        keys: [
          { name: "one", key: "key-one" },
          { name: "two", key: "key-two" },
        ],
      },
    },
  })
  const forms = (key: string) => [
    { authorization: `Bearer ${key}` },
    { "x-api-key": key },
    { "api-key": key },
  ]
  for (const headers of forms("key-one")) {
    expect((await postChat(gateway.url, { model: "demo", headers })).status).toBe(200)
  }
  for (const headers of forms("key-one")) {
    expect((await postChat(gateway.url, { model: "demo", headers })).status).toBe(429)
  }
  const [bearer] = forms("key-two")
  expect((await postChat(gateway.url, { model: "demo", headers: { ...bearer } })).status).toBe(200)
})

test("fault 21: keys in snake_case are obeyed, and variables are filled in wherever they stand", async () => {
  const gateway = await running({
    config: `server: { port: 0 }
routing: { max_retries: 0, failover_enabled: false }
plugins: { configs: { told: { config: { word: "\${WORD}", other: "\${MISSING:-fallback}" } } } }`,
    env: { WORD: "from the environment" },
    plugins: {
      "told.ts": witness({
        name: "told",
        more: "config: Type.Object({ word: Type.String(), other: Type.String() }),",
        setup: 'say(config.word + ", " + config.other)',
      }),
    },
  })
  expect(said(gateway.logs())).toContain("told from the environment, fallback")
})

test("fault 22: a provider's health is really asked for, and one that was down comes back", async () => {
  const gateway = await running({
    config: { ...demoWith({ ill: {} }), routing: { health_check_interval: "50ms" } },
    plugins: {
      "ill.ts": witness({
        name: "ill",
        type: "provider",
        setup: "let checks = 0",
        abilities: `models: ["m"], chat() { throw new Error("never asked") },
          healthCheck() { if (++checks < 4) throw new Error("still in bed") }`,
      }),
    },
  })
  const health = async () => ((await infoOf(gateway, "ill")) as { health?: Health }).health
  await waitFor("it to be down", async () => (await health())?.reason?.includes("still in bed") === true)
  await waitFor("it to be back", async () => (await health())?.status === "healthy")
})

test("fault 23: no cost is made up, nothing is wiped, and requests in flight come back to zero", async () => {
  const gateway = await running({
    config: demoWith({}),
    plugins: {
      "payer.ts": witness({
        name: "payer",
        abilities: 'hooks: { onResponse(event) { say("paid " + String(event.costUsd)) } }',
      }),
    },
  })
  await Promise.all(Array.from({ length: 8 }, () => askPlain(gateway.url, "demo")))
  await waitFor(
    "all to be told",
    () => said(gateway.logs()).filter((line) => line.includes("paid")).length === 8,
  )
  expect(countOf(gateway.logs(), "payer paid 0")).toBe(0)
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  // The scrape itself is the one request that is being served.
  expect(metrics).toMatch(/^http_server_active_requests(?:\{\})? 1$/m)
  expect(metrics).toMatch(/http_route="\/v1\/chat\/completions",http_response_status_code="200"\} 8$/m)
})

test("fault 24: every metric that is shown is declared, so that a board cannot ask for one that is not there", async () => {
  const gateway = await running({ config: demoWith({}) })
  await askPlain(gateway.url, "demo")
  const text = await (await fetch(`${gateway.url}/metrics`)).text()
  const shown = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = ""]) => name)
  const declared = Object.entries(METRICS).map(([name, spec]) => prometheusNames(name, spec).sample)
  expect(shown.length).toBeGreaterThan(10)
  expect(shown.filter((name) => !declared.includes(name))).toEqual([])
})

test("fault 25: the rate limiter obeys its routes, survives reloads with its counts, and believes no header", async () => {
  const gateway = await running({
    config: demoWith({
      "rate-limiter": { config: { max_requests: 2, identifier: "user_id", routes: ["/v1/chat/*"] } },
    }),
  })
  const ask = (user: string) => postChat(gateway.url, { model: "demo", headers: { "x-user-id": user } })
  expect((await ask("a")).status).toBe(200)
  for (let count = 0; count < 3; count++) {
    expect((await admin(gateway, "rate-limiter/reload")).status).toBe(200)
  }
  expect((await ask("b")).status).toBe(200)
  expect((await ask("c")).status).toBe(429)
  expect((await fetch(`${gateway.url}/v1/models`)).status).toBe(200)
})

test("every fault of the original has a test with its number", async () => {
  const files = ["original-hosting-faults.test.ts", "original-call-faults.test.ts"]
  const texts = await Promise.all(files.map((file) => Bun.file(join(import.meta.dir, file)).text()))
  const numbers = texts.flatMap((text) =>
    [...text.matchAll(/^test\("fault (\d+): /gm)].map(([, number]) => Number(number)),
  )
  expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 26 }, (_, index) => index + 1))
})

interface HookStats {
  readonly hooks: Readonly<Record<string, { readonly plugins: Readonly<Record<string, unknown>> }>>
}

interface Health {
  readonly status: string
  readonly reason: string | null
}

/** The demo provider, which answers for the model `demo`, and these plugins. */
function demoWith(configs: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return { plugins: { configs: { "example-provider": {}, ...configs } } }
}

async function running(options: GatewayOptions = {}): Promise<RunningGateway> {
  const gateway = await startGateway(options)
  open.push(gateway)
  return gateway
}

async function lastHeader(gateway: RunningGateway): Promise<string | null> {
  return (await fetch(`${gateway.url}/v1/models`)).headers.get("x-last")
}

function admin(gateway: RunningGateway, operation: string): Promise<Response> {
  return fetch(`${gateway.adminUrl}/plugins/${operation}`, { method: "POST" })
}

async function infoOf(gateway: RunningGateway, name: string): Promise<PluginInfo> {
  return (await (await fetch(`${gateway.adminUrl}/plugins/${name}`)).json()) as PluginInfo
}
