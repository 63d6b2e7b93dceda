/** Who may ask what: API keys, the admin token, and Host headers that try to get around both. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { errorOf, postChat } from "../support/chat.ts"
import { freePort } from "../support/free-port.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { rawRequest, sendRaw } from "../support/raw-http.ts"
import { answers } from "../support/upstream-scripts.ts"

const KEY = "lg-a-client-key"
const TOKEN = "an-admin-token"

let upstream: HostileUpstream
/** Keys and an admin token. */
let locked: RunningGateway
/** Neither. */
let local: RunningGateway
/** A middleware that lets nobody through on two routes. */
let guarded: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine"]))
  const providers = [{ name: "up", base_url: upstream.url, models: ["good"] }]
  ;[locked, local, guarded] = await Promise.all([
    startGateway({
      config: { providers, auth: { keys: [{ name: "ci", key: KEY }] }, admin: { token: TOKEN } },
    }),
    startGateway({ config: { providers } }),
    startGateway({ config: { providers }, plugins: { "guard.ts": GUARD } }),
  ])
})

afterAll(async () => {
  await Promise.all([locked?.stop(), local?.stop(), guarded?.stop()])
  upstream?.stop()
})

describe("an API key", () => {
  test.each([
    ["authorization", `Bearer ${KEY}`],
    ["authorization", `bearer ${KEY}`],
    ["x-api-key", KEY],
  ])("is taken from %s: %s", async (name, value) => {
    const response = await postChat(locked.url, { model: "good", headers: { [name]: value } })
    expect(response.status).toBe(200)
  })

  test.each([
    ["none", {}],
    ["a wrong one", { authorization: "Bearer lg-wrong" }],
    ["an empty one", { authorization: "Bearer " }],
    ["another scheme", { authorization: `Basic ${btoa(`x:${KEY}`)}` }],
    ["the start of the right one", { authorization: `Bearer ${KEY.slice(0, -1)}` }],
    ["the admin token", { authorization: `Bearer ${TOKEN}` }],
    ["a very long one", { authorization: `Bearer ${"k".repeat(10_000)}` }],
  ])("that is %s is a 401", async (_, headers: Record<string, string>) => {
    const response = await postChat(locked.url, { model: "good", headers })
    expect(response.status).toBe(401)
    const text = await response.text()
    expect(JSON.parse(text).error).toMatchObject({ type: "authentication_error", code: "invalid_api_key" })
    expect(text).not.toContain("lg-wrong")
  })

  test("is asked for before a body is looked at, and for models too", async () => {
    const broken = await fetch(`${locked.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{",
    })
    expect(broken.status).toBe(401)
    expect((await fetch(`${locked.url}/v1/models`)).status).toBe(401)
    expect((await fetch(`${locked.url}/v1/models/good`)).status).toBe(401)
  })

  test("is in no log line, right or wrong", async () => {
    await postChat(locked.url, { model: "good", headers: { authorization: `Bearer ${KEY}` } })
    await postChat(locked.url, { model: "good", headers: { authorization: "Bearer lg-wrong" } })
    for (const secret of [KEY, TOKEN, "lg-wrong"]) expect(locked.logs()).not.toContain(secret)
  })

  test("is not asked for by /health and /ready", async () => {
    expect((await fetch(`${locked.url}/health`)).status).toBe(200)
    expect((await fetch(`${locked.url}/ready`)).status).toBe(200)
  })
})

describe("without keys", () => {
  test("a loopback Host is served", async () => {
    expect((await postChat(local.url, { model: "good" })).status).toBe(200)
  })

  test("a page that had its name rebound to this machine is not", async () => {
    const body = JSON.stringify({ model: "good", messages: [{ role: "user", content: "x" }] })
    const reply = await sendRaw(
      local.port,
      rawRequest(
        "POST /v1/chat/completions",
        [
          ["host", `evil.example:${local.port}`],
          ["content-type", "application/json"],
        ],
        body,
      ),
    )
    expect(reply?.status).toBe(403)
  })
})

describe("the admin API with a token", () => {
  test("answers to the token", async () => {
    const response = await fetch(`${locked.adminUrl}/plugins`, {
      headers: { authorization: `Bearer ${TOKEN}` },
    })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ plugins: expect.any(Array), count: expect.any(Number) })
  })

  test.each([
    ["nothing", {}],
    ["a wrong token", { authorization: "Bearer wrong" }],
    ["an API key", { authorization: `Bearer ${KEY}` }],
    ["the token in the wrong header", { "x-api-key": TOKEN }],
  ])("refuses %s with a 401", async (_, headers: Record<string, string>) => {
    for (const path of ["plugins", "plugins/hooks/stats", "plugins/none", "plugins/none/metrics"]) {
      const response = await fetch(`${locked.adminUrl}/${path}`, { headers })
      expect(response.status).toBe(401)
      expect(await errorOf(response)).toMatchObject({ code: "admin_unauthorized" })
    }
    const posted = await fetch(`${locked.adminUrl}/plugins/none/disable`, { method: "POST", headers })
    expect(posted.status).toBe(401)
  })

  test("refuses nothing on every route that there is", async () => {
    const { paths } = (await (await fetch(`${locked.url}/openapi.json`)).json()) as Description
    const routes = Object.entries(paths)
      .filter(([path]) => path.startsWith("/admin/"))
      .flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => [method.toUpperCase(), path] as const),
      )
    expect(routes.length).toBeGreaterThan(10)
    for (const [method, path] of routes) {
      const { status } = await fetch(locked.url + path.replaceAll(/[{}]/g, ""), { method })
      expect(`${method} ${path} ${status}`).toBe(`${method} ${path} 401`)
    }
  })
})

interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

describe("the admin API without a token", () => {
  test("answers loopback callers", async () => {
    expect((await fetch(`${local.adminUrl}/plugins`)).status).toBe(200)
  })

  test.each([
    "evil.example",
    `evil.example:80`,
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "0.0.0.0",
  ])("refuses the Host %s", async (host) => {
    const reply = await sendRaw(local.port, rawRequest("GET /admin/plugins", [["host", host]]))
    expect(reply?.status).toBe(403)
    expect(JSON.parse(reply?.body ?? "")).toMatchObject({ error: { code: "forbidden" } })
  })

  test("refuses what a proxy passes on from elsewhere", async () => {
    const response = await fetch(`${local.adminUrl}/plugins`, {
      headers: { "x-forwarded-for": "203.0.113.7" },
    })
    expect(response.status).toBe(403)
  })
})

test("an admin API with a listener of its own is on that one only", async () => {
  const port = freePort()
  await using apart = await startGateway({ config: { admin: { listen: `127.0.0.1:${port}` } } })
  expect((await fetch(`${apart.url}/admin/plugins`)).status).toBe(404)
  expect((await fetch(`http://127.0.0.1:${port}/admin/plugins`)).status).toBe(200)
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200)
  expect((await fetch(`http://127.0.0.1:${port}/v1/models`)).status).toBe(404)
})

describe("a strange Host", () => {
  const strange: [string, [string, string][]][] = [
    ["missing", []],
    ["empty", [["host", ""]]],
    ["with a space", [["host", "aa aa"]]],
    ["with a path", [["host", "localhost/admin"]]],
    ["with a fragment", [["host", "localhost:4000/#@evil"]]],
    ["with a query", [["host", "localhost?x"]]],
    ["with a user", [["host", "user@localhost"]]],
    ["with a bad port", [["host", "localhost:x"]]],
    ["longer than any name", [["host", "a".repeat(3_000)]]],
    [
      "given twice",
      [
        ["host", "localhost"],
        ["host", "evil.example"],
      ],
    ],
    [
      "given twice, the same",
      [
        ["host", "localhost"],
        ["host", "localhost"],
      ],
    ],
  ]

  test.each(strange)("%s is a 400, whatever the path", async (_, headers) => {
    for (const path of ["/v1/models", "/admin/plugins", "/health"]) {
      const reply = await sendRaw(local.port, rawRequest(`GET ${path}`, headers))
      expect(reply?.status ?? 400).toBe(400)
      expect(reply?.body ?? "").not.toContain('"plugins"')
    }
  })

  test.each(["a", "ab", "localhost", "a:1"])("%s does not move the path", async (host) => {
    for (const path of ["/public/admin/plugins", "/x/admin/plugins", "/x/health"]) {
      const reply = await sendRaw(local.port, rawRequest(`GET ${path}`, [["host", host]]))
      expect(reply?.status).toBe(404)
    }
  })

  test.each(["a", "ab", "evil.example"])("%s does not open /admin", async (host) => {
    for (const path of ["/admin/plugins", "/x/admin/plugins", "//admin/plugins", "/v1/../admin/plugins"]) {
      const reply = await sendRaw(local.port, rawRequest(`GET ${path}`, [["host", host]]))
      expect(reply?.status).toBeOneOf([400, 403, 404])
      const withToken = await sendRaw(locked.port, rawRequest(`GET ${path}`, [["host", host]]))
      expect(withToken?.status).toBeOneOf([400, 401, 404])
    }
  })

  test.each([
    "http://evil.example/admin/plugins",
    "http://localhost/admin/plugins",
    "http://a/x/admin/plugins",
    "HTTP://evil.example/admin/plugins",
    "admin/plugins",
    "*",
    "localhost:80",
  ])("does not come in by the target %s", async (target) => {
    const reply = await sendRaw(locked.port, rawRequest(`GET ${target}`, [["host", "localhost"]]))
    expect(reply?.status ?? 400).toBeOneOf([400, 401, 404])
    expect(reply?.body ?? "").not.toContain('"plugins"')
    const foreign = await sendRaw(local.port, rawRequest(`GET ${target}`, [["host", "evil.example"]]))
    expect(foreign?.body ?? "").not.toContain('"plugins"')
  })

  test("leaves the next request alone", async () => {
    expect((await fetch(`${local.url}/health`)).status).toBe(200)
  })
})

test.each(["%", "%ff", "%/schema", "x/cache/%"])(
  "the admin API finds nothing under %p, and does not fail",
  async (name) => {
    const reply = await sendRaw(local.port, rawRequest(`GET /admin/plugins/${name}`, [["host", "localhost"]]))
    const other = await sendRaw(
      local.port,
      rawRequest(`DELETE /admin/plugins/${name}`, [["host", "localhost"]]),
    )
    expect([reply?.status, other?.status]).toEqual([expect.any(Number), expect.any(Number)])
    expect([reply?.status, other?.status]).not.toContain(500)
  },
)

describe("a middleware with routes", () => {
  const body = JSON.stringify({ model: "good", messages: [{ role: "user", content: "x" }] })

  test.each([
    "/v1/chat/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions?x=1",
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat/completions//",
    "/v1/chat/%63ompletions",
    "/v1/chat%2Fcompletions",
    "/V1/chat/completions",
    "/x/../v1/chat/completions",
    "/%2e/v1/chat/completions",
    "/v1\\chat/completions",
    "/v1/chat/completions;x",
    "/v1/chat/completions%20",
    "/v1/chat/completions%00",
    "http://127.0.0.1/v1/chat/completions",
    "http://127.0.0.1//v1/chat/completions/",
  ])("is not got around by the spelling %s", async (path) => {
    const headers: [string, string][] = [
      ["host", `127.0.0.1:${guarded.port}`],
      ["content-type", "application/json"],
    ]
    const reply = await sendRaw(guarded.port, rawRequest(`POST ${path}`, headers, body))
    expect(reply?.status).toBeOneOf([400, 403, 404])
  })
})

const GUARD = `import { definePlugin, GatewayError } from "leapgate/plugin"
export default definePlugin({
  name: "guard", version: "1.0.0", type: "middleware",
  setup: () => ({
    routes: ["/v1/chat/completions"],
    beforeHandle() {
      throw new GatewayError("forbidden", "nobody gets through")
    },
  }),
})`
