/** The HTTP routes of plugins: who reaches them, what the plugin sees, and how its reply gets out. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { errorOf } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { openRaw, rawRequest, sendRaw } from "../support/raw-http.ts"
import { waitFor, within } from "../support/wait.ts"

const KEY = "lg-a-static-key"
const KEYED = { authorization: `Bearer ${KEY}` }

let gateway: RunningGateway

beforeAll(async () => {
  gateway = await startGateway({
    config: {
      server: { body_limit: "64KiB" },
      auth: { keys: [{ name: "ci", key: KEY }] },
      plugins: {
        configs: {
          "a-route": { timeout: "300ms" },
          "late-disabled": { enabled: false },
          // Nothing but its open stream is to keep a version.
          stable: { probation: false },
        },
      },
    },
    plugins: {
      "a-route.ts": routePlugin("a-route"),
      "open-route.ts": routePlugin("open-route", "public: true,"),
      "late-disabled.ts": routePlugin("late-disabled"),
      "plain.ts": PLAIN,
      "stamp.ts": STAMP,
      "stable.ts": versioned("stable", 1),
    },
  })
})

afterAll(() => gateway?.stop())

function visit(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${gateway.url}${path}`, { ...init, headers: { ...KEYED, ...(init.headers as object) } })
}

async function seen(path: string, init: RequestInit = {}): Promise<Record<string, unknown>> {
  return (await (await visit(path, init)).json()) as Record<string, unknown>
}

describe("what a plugin sees", () => {
  test.each([
    ["/plugins/a-route", "/"],
    ["/plugins/a-route/", "/"],
    ["/plugins/a-route/a/b", "/a/b"],
    ["/plugins/a-route/a%20b?q=1", "/a%20b"],
    ["/plugins/a-route?q=%2f", "/"],
    ["/plugins/a-route/a//b/", "/a//b/"],
  ])("of %s is the path %s", async (path, below) => {
    expect(await seen(path)).toMatchObject({ path: below, url: `${gateway.url}${path}` })
  })

  test.each([
    "/plugins/a-route/..%2fopen-route",
    "/plugins/a-route/%2e%2e%2fopen-route",
    "/plugins/a-route/..%5copen-route",
    "/plugins/a-route/..%252fopen-route",
  ])("no spelling reaches another plugin: %s", async (path) => {
    expect((await seen(path)).plugin).toBe("a-route")
    expect((await fetch(`${gateway.url}${path}`)).status).toBe(401)
  })

  test.each([
    "/plugins/open-route%2f..%2fa-route",
    "/plugins/open-route%00",
    "/plugins/%",
    "/plugins/open-route/../a-route",
  ])("nor does %s get around the key", async (path) => {
    const reply = await sendRaw(gateway.port, rawRequest(`GET ${path}`, [["host", "localhost"]]))
    expect(reply?.status).toBe(401)
  })

  test.each(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])(
    "is the method %s",
    async (method) => {
      expect(await seen("/plugins/a-route/x", { method })).toMatchObject({ method })
    },
  )

  test("is who asks, and not with what key", async () => {
    const request = await seen("/plugins/a-route", {
      headers: { "x-api-key": "k", "api-key": "k", "x-other": "o" },
    })
    expect(request).toMatchObject({ principal: { name: "ci", via: "key" }, clientIp: "127.0.0.1" })
    expect(request.headers).toMatchObject({ "x-other": "o" })
    for (const name of ["authorization", "x-api-key", "api-key"])
      expect(request.headers).not.toHaveProperty(name)
  })

  test("is the request's id, which is on the reply too", async () => {
    const reply = await visit("/plugins/a-route", { headers: { "x-request-id": "my-id" } })
    expect(reply.headers.get("x-request-id")).toBe("my-id")
    expect(await reply.json()).toMatchObject({
      requestId: "my-id",
      traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
    })
  })

  test("is the body, of whatever type and in pieces", async () => {
    const bytes = new Uint8Array(50_000).fill(7)
    const headers = { "content-type": "application/octet-stream" }
    const whole = await visit("/plugins/a-route/size", { method: "POST", body: bytes, headers })
    expect(await whole.text()).toBe("50000")
    const pieces = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 5; i++) controller.enqueue(new Uint8Array(10_000))
        controller.close()
      },
    })
    const chunked = await visit("/plugins/a-route/size", { method: "POST", body: pieces, headers })
    expect(await chunked.text()).toBe("50000")
  })

  test("ends at server.body_limit", async () => {
    const declared = await visit("/plugins/a-route/size", { method: "POST", body: new Uint8Array(70_000) })
    expect(declared.status).toBe(413)
    const pieces = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 7; i++) controller.enqueue(new Uint8Array(10_000))
        controller.close()
      },
    })
    const chunked = await visit("/plugins/a-route/size", { method: "POST", body: pieces })
    expect(chunked.status).toBe(413)
    expect(await errorOf(chunked)).toMatchObject({ code: "body_too_large" })
  })
})

describe("who reaches a route", () => {
  test("needs a key, as for /v1", async () => {
    const reply = await fetch(`${gateway.url}/plugins/a-route`)
    expect(reply.status).toBe(401)
    expect(await errorOf(reply)).toMatchObject({ code: "invalid_api_key" })
  })

  test("of a public plugin needs none, is anonymous without one, and keeps its headers", async () => {
    const nobody = (await (await fetch(`${gateway.url}/plugins/open-route`)).json()) as object
    expect(nobody).toMatchObject({ principal: { name: "anonymous" } })
    const headers = { authorization: "Bearer of-the-plugin's-own" }
    const stranger = (await (await fetch(`${gateway.url}/plugins/open-route`, { headers })).json()) as object
    expect(stranger).toMatchObject({ principal: { name: "anonymous" }, headers })
    expect(await seen("/plugins/open-route")).toMatchObject({ principal: { name: "ci" } })
  })

  test("passes the middlewares on the way in and out", async () => {
    const reply = await visit("/plugins/a-route/x")
    expect(reply.headers.get("x-stamped")).toBe("/plugins/a-route/x")
    expect((await visit("/plugins/a-route/x", { headers: { "x-stop": "1" } })).status).toBe(418)
  })
})

describe("what is not there is a 404 that says why:", () => {
  test.each([
    ["no such plugin", "/plugins/nobody/x", 'no active plugin is called "nobody"'],
    ["a plugin that is switched off", "/plugins/late-disabled", 'no active plugin is called "late-disabled"'],
    ["a plugin without routes", "/plugins/plain", 'plugin "plain" has no routes'],
    [
      "a name in another spelling, which a middleware's routes would miss",
      "/plugins/%61-route/x",
      "no active",
    ],
    ["no name", "/plugins/", 'no active plugin is called ""'],
    ["nothing at all", "/plugins", "there is no GET /plugins"],
  ])("%s", async (_, path, message) => {
    const reply = await visit(path)
    expect(reply.status).toBe(404)
    expect((await errorOf(reply)).message).toContain(message)
  })

  test("and so is a plugin that was switched off while the gateway ran", async () => {
    const post = (what: string) =>
      fetch(`${gateway.adminUrl}/plugins/late-disabled/${what}`, { method: "POST" })
    await post("enable")
    expect((await visit("/plugins/late-disabled")).status).toBe(200)
    await post("disable")
    expect((await visit("/plugins/late-disabled")).status).toBe(404)
  })
})

describe("the reply", () => {
  test("has the plugin's status, headers and body, whole with its length", async () => {
    const reply = await visit("/plugins/a-route/made")
    expect(reply.status).toBe(201)
    expect(reply.headers.get("x-mine")).toBe("yes")
    expect(reply.headers.getSetCookie()).toEqual(["a=1", "b=2"])
    expect(reply.headers.get("content-length")).toBe("4")
    expect(await reply.text()).toBe("made")
  })

  test.each(["/no-content", "/empty"])("may be without a body: %s", async (path) => {
    const reply = await visit(`/plugins/a-route${path}`)
    expect(reply.status).toBe(path === "/empty" ? 200 : 204)
    expect(await reply.text()).toBe("")
  })

  test("to HEAD is that to GET without its body, even where that never ends", async () => {
    const head = await visit("/plugins/a-route/made", { method: "HEAD" })
    expect(head.status).toBe(201)
    expect(await head.text()).toBe("")
    expect((await visit("/plugins/a-route/endless", { method: "HEAD" })).status).toBe(200)
  })

  test.each([
    ["throws", 503, "plugin_failed"],
    ["rejects", 503, "plugin_failed"],
    ["hangs", 503, "plugin_timeout"],
    ["returns nothing", 503, "plugin_failed"],
    ["returns rubbish", 503, "plugin_failed"],
    ["returns a used reply", 503, "plugin_failed"],
    ["returns an error reply", 503, "plugin_failed"],
    ["refuses", 429, "rate_limit_exceeded"],
  ])("of a plugin that %s is %d %s", async (deed, status, code) => {
    const reply = await visit(`/plugins/a-route/${encodeURIComponent(deed)}`)
    expect(reply.status).toBe(status)
    const { code: told, message } = await errorOf(reply)
    expect(told).toBe(code)
    expect(message).not.toContain("a secret of the plugin's")
  })

  test("is counted under the name of the plugin", async () => {
    await visit("/plugins/a-route/some/path")
    await visit("/plugins/nobody-at-all/some/path")
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
    expect(metrics).toContain('http_route="/plugins/a-route/*"')
    expect(metrics).not.toContain("nobody-at-all")
    expect(metrics).toContain('leapgate_hook_duration_seconds_count{plugin="a-route",hook="fetch",')
  })
})

describe("a reply that streams", () => {
  test("comes piece by piece, and its silence is not cut", async () => {
    const reply = await visit("/plugins/a-route/drip")
    const reader = (reply.body as ReadableStream<Uint8Array>).getReader()
    expect(textOf(await reader.read())).toBe("one ")
    await visit("/plugins/a-route/go-on", { method: "POST" })
    expect(textOf(await reader.read())).toBe("two")
    expect((await reader.read()).done).toBe(true)
  })

  test("is over when the client leaves, even where nothing of it came yet", async () => {
    const leaving = new AbortController()
    const reply = visit("/plugins/a-route/silent", { signal: leaving.signal }).catch(() => {})
    await waitFor("the stream to be read", () => gateway.logs().includes("silent stream was read"))
    leaving.abort()
    await waitFor("the stream to be cancelled", () => gateway.logs().includes("silent stream was cancelled"))
    await reply
  })

  test("keeps its plugin alive over a reload, until it has ended", async () => {
    const reply = await visit("/plugins/stable/stream")
    const reader = (reply.body as ReadableStream<Uint8Array>).getReader()
    expect(textOf(await reader.read())).toBe("v1 ")
    await gateway.writePlugin("stable.ts", versioned("stable", 2))
    await waitFor("version 2 to serve", async () => (await (await visit("/plugins/stable")).text()) === "v2")
    expect(gateway.logs()).not.toContain("v1 is gone")
    await visit("/plugins/stable/finish", { method: "POST" })
    expect(textOf(await reader.read())).toBe("v1 end")
    expect((await reader.read()).done).toBe(true)
    await waitFor("version 1 to go", () => gateway.logs().includes("v1 is gone"))
  })

  test("ends in the plugin when the client leaves", async () => {
    const leaving = new AbortController()
    const reply = await visit("/plugins/a-route/endless", { signal: leaving.signal })
    const reader = (reply.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    leaving.abort()
    await reader.read().catch(() => {})
    await waitFor("the stream to be cancelled", () => gateway.logs().includes("stream was cancelled"))
    await waitFor("the signal to abort", () => gateway.logs().includes("signal was aborted"))
  })

  test("that breaks off is cut, and not ended as if it were whole", async () => {
    const connection = await openRaw(gateway.port)
    connection.send(
      rawRequest("GET /plugins/a-route/breaks", [
        ["host", "localhost"],
        ["authorization", KEYED.authorization],
      ]),
    )
    await within("the connection to be cut", connection.closed)
    expect(connection.unread()).toContain("one ")
    expect(connection.unread()).not.toContain("0\r\n\r\n")
  })

  test("leaves no request open afterwards", async () => {
    await waitFor("all requests to be over", async () => {
      const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
      return metrics.includes("http_server_active_requests 1\n")
    })
  })
})

function textOf({ value }: { readonly value?: Uint8Array | undefined }): string {
  return new TextDecoder().decode(value)
}

function routePlugin(name: string, more = ""): string {
  return `import { definePlugin, GatewayError } from "leapgate/plugin"
let goOn = () => {}
const streamOf = (source) => new Response(new ReadableStream(source))
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "monitoring",
  setup: ({ log }) => ({
    ${more}
    async fetch(request, context) {
      switch (decodeURIComponent(context.path)) {
        case "/size": return new Response(String((await request.arrayBuffer()).byteLength))
        case "/made": {
          const headers = new Headers({ "x-mine": "yes" })
          headers.append("set-cookie", "a=1")
          headers.append("set-cookie", "b=2")
          return new Response("made", { status: 201, headers })
        }
        case "/no-content": return new Response(null, { status: 204 })
        case "/empty": return new Response("")
        case "/throws": case "/rejects": throw new Error("a secret of the plugin's")
        case "/hangs": return new Promise(() => {})
        case "/returns nothing": return undefined
        case "/returns rubbish": return { status: 200 }
        case "/returns a used reply": { const reply = new Response("x"); await reply.text(); return reply }
        case "/returns an error reply": return Response.error()
        case "/refuses": throw new GatewayError("rate_limit_exceeded", "slowly")
        case "/silent": return streamOf({
          async pull() { log.info("silent stream was read"); await new Promise(() => {}) },
          cancel: () => log.info("silent stream was cancelled"),
        })
        case "/go-on": goOn(); return new Response("ok")
        case "/drip": {
          const gate = Promise.withResolvers()
          goOn = gate.resolve
          let piece = 0
          return streamOf({
            async pull(controller) {
              if (piece++ === 0) return controller.enqueue("one ")
              await gate.promise
              controller.enqueue("two")
              controller.close()
            },
          })
        }
        case "/endless":
          context.signal.addEventListener("abort", () => log.info("signal was aborted"))
          return streamOf({
            pull: (controller) => controller.enqueue("more "),
            cancel: () => log.info("stream was cancelled"),
          })
        case "/breaks": {
          let piece = 0
          return streamOf({
            async pull(controller) {
              await Bun.sleep(1)
              if (piece++ < 3) controller.enqueue("one ")
              else controller.error(new Error("broken"))
            },
          })
        }
        default: {
          const { method, url, headers } = request
          const { path, principal, clientIp, requestId, traceId } = context
          return Response.json({
            plugin: "${name}", method, url, headers: Object.fromEntries(headers), path, principal, clientIp, requestId, traceId,
          })
        }
      }
    },
  }),
})`
}

/** Streams until it is told to finish; the module's own state tells versions apart. */
function versioned(name: string, version: number): string {
  return `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "${name}", version: "${version}.0.0", type: "monitoring",
  setup({ log, state, onDispose }) {
    onDispose(() => log.info("v${version} is gone"))
    return {
      async fetch(request, { path }) {
        if (path === "/finish") { await state.set("finished", true); return new Response("ok") }
        if (path !== "/stream") return new Response("v${version}")
        let piece = 0
        return new Response(new ReadableStream({
          async pull(controller) {
            if (piece++ === 0) return controller.enqueue("v${version} ")
            while ((await state.get("finished")) !== true) await Bun.sleep(5)
            controller.enqueue("v${version} end")
            controller.close()
          },
        }))
      },
    }
  },
})`
}

const PLAIN = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({ name: "plain", version: "1.0.0", type: "monitoring", setup: () => ({}) })`

const STAMP = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "stamp", version: "1.0.0", type: "middleware",
  setup: () => ({
    routes: ["/plugins/*"],
    beforeHandle({ headers }) {
      if (headers.has("x-stop")) return new Response("stopped", { status: 418 })
    },
    afterHandle({ path, setHeader }) {
      setHeader("x-stamped", path)
    },
  }),
})`
