import { afterEach, describe, expect, test } from "bun:test"
import type { Socket } from "bun"
import { type Clock, systemClock } from "../../src/clock.ts"
import { GatewayError } from "../../src/errors.ts"
import { createTransport, type Transport, type UpstreamRequest } from "../../src/upstream/transport.ts"
import { waitFor, within } from "../support/wait.ts"
import { listenWithFullBacklog } from "./full-backlog.ts"

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

describe("a request", () => {
  test("sends the method, headers and bytes it was given, and nothing of its own that matters", async () => {
    const server = serve(async (request) =>
      Response.json({
        ...Object.fromEntries(request.headers),
        method: request.method,
        body: await request.text(),
      }),
    )
    const response = await send(newTransport(), {
      url: server,
      headers: { authorization: "Bearer k", "user-agent": "leapgate/1", "content-type": "application/json" },
      body: bytesOf('{"a":"grün"}'),
    })
    const { host, ...seen } = (await response.json()) as Record<string, string>
    expect(host).toBe(new URL(server).host)
    expect(seen).toEqual({
      method: "POST",
      body: '{"a":"grün"}',
      accept: "*/*",
      "accept-encoding": "gzip, deflate, br, zstd",
      authorization: "Bearer k",
      connection: "keep-alive",
      "content-length": "13",
      "content-type": "application/json",
      "user-agent": "leapgate/1",
    })
  })

  test.each([200, 204, 400, 401, 429, 500])("gets a reply of status %d as it is", async (status) => {
    const server = serve(
      () => new Response(status === 204 ? null : "text", { status, headers: { "x-a": "b" } }),
    )
    const response = await send(newTransport(), { url: server })
    expect(response.status).toBe(status)
    expect(response.headers.get("x-a")).toBe("b")
  })

  test("reads compressed replies", async () => {
    const server = serve(
      () => new Response(Bun.gzipSync("packed"), { headers: { "content-encoding": "gzip" } }),
    )
    expect(await (await send(newTransport(), { url: server })).text()).toBe("packed")
  })

  test("uses a kept connection again, and a new one when the provider has closed it", async () => {
    const sockets: Socket[] = []
    const upstream = listen({
      open: (socket) => sockets.push(socket),
      data: (socket) => socket.write(OK),
    })
    const transport = newTransport({ env: BEHIND_A_PROXY })
    for (let sent = 0; sent < 3; sent++) await (await send(transport, { url: upstream.url })).text()
    expect(sockets).toHaveLength(1)
    sockets[0]?.end()
    await upstream.closed(1)
    expect(await (await send(transport, { url: upstream.url })).text()).toBe("ok")
    expect(sockets).toHaveLength(2)
  })
})

describe("a provider that cannot be used", () => {
  test("because nothing listens is unreachable", async () => {
    const upstream = listen({})
    upstream.stop()
    await expectFault(
      { url: upstream.url },
      "upstream_unreachable",
      `refuses connections at 127.0.0.1:${upstream.port}`,
    )
  })

  test("because its name does not exist is unreachable", async () => {
    await expectFault(
      { url: "http://no-such-host.invalid/v1" },
      "upstream_unreachable",
      '"no-such-host.invalid"',
    )
  })

  test("because it does not speak TLS is unreachable, with a hint", async () => {
    const upstream = listen({ data: (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n") })
    await expectFault(
      { url: upstream.url.replace("http:", "https:") },
      "upstream_unreachable",
      "http, not https",
    )
  })

  test.each([
    ["resets the connection", (socket: Socket) => socket.terminate()],
    ["closes the connection", (socket: Socket) => socket.end()],
    ["sends half a header and closes", (socket: Socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-le")],
  ])("because it %s has lost the connection", async (_, data) => {
    await expectFault({ url: listen({ data }).url }, "upstream_connection_lost", "before it answered")
  })

  test.each(["SSH-2.0-OpenSSH_9.9\r\n\r\n", "HTTP/1.1 200 OK\r\nno header\r\n\r\n"])(
    "because it answers %j has given an invalid reply",
    async (answer) => {
      const { url } = listen({ data: (socket) => socket.end(answer) })
      await expectFault({ url }, "upstream_invalid_reply", "not HTTP")
    },
  )

  test("because it redirects is not followed there", async () => {
    const seen: string[] = []
    const elsewhere = serve((request) => {
      seen.push(request.url)
      return new Response("stolen")
    })
    const server = serve(() => Response.redirect(`${elsewhere}?token=secret`, 307))
    await expectFault(
      { url: server },
      "upstream_invalid_reply",
      `redirects to ${new URL(elsewhere).origin} (status 307)`,
    )
    expect(seen).toEqual([])
  })
})

describe("an abort", () => {
  const reason = new Error("the client left")

  test("before the start sends nothing", async () => {
    const upstream = listen({})
    const failed = send(newTransport(), { url: upstream.url, signal: AbortSignal.abort(reason) })
    expect(await failed.catch((thrown) => thrown)).toBe(reason)
  })

  test.each(["first", "second"])(
    "rejects a waiting %s request with its reason and hangs up",
    async (which) => {
      let isSilent = which === "first"
      const upstream = listen({ data: (socket) => isSilent || socket.write(OK) })
      const transport = newTransport()
      if (which === "second") await (await send(transport, { url: upstream.url })).text()
      isSilent = true
      const controller = new AbortController()
      const requestsBefore = upstream.requests()
      const failed = send(transport, { url: upstream.url, signal: controller.signal }).catch(
        (thrown) => thrown,
      )
      await waitFor("the request", () => upstream.requests() > requestsBefore)
      controller.abort(reason)
      expect(await failed).toBe(reason)
      await upstream.allClosed()
    },
  )

  test.each(["first", "second"])("stops the body of a %s reply and hangs up", async (which) => {
    const upstream = listen({
      data: (socket, bytes) =>
        socket.write(
          bytes.includes("POST /stream")
            ? "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"
            : OK,
        ),
    })
    const transport = newTransport()
    const url = `${upstream.url}/stream`
    if (which === "second") {
      const warmUp = new AbortController()
      await send(transport, { url, signal: warmUp.signal })
      warmUp.abort()
    }
    const controller = new AbortController()
    const response = await send(transport, { url, signal: controller.signal })
    const reader = response.body?.getReader()
    await reader?.read()
    controller.abort(reason)
    expect(await reader?.read().catch((thrown) => thrown)).toBe(reason)
    await upstream.allClosed()
  })
})

describe("the connect deadline", () => {
  test.skipIf(process.platform !== "linux")("cuts off a host that neither accepts nor refuses", async () => {
    const backlog = await listenWithFullBacklog()
    cleanups.push(backlog.stop)
    const request = { url: `http://127.0.0.1:${backlog.port}/v1`, connectTimeoutMs: 50 }
    const message = `did not accept a connection at 127.0.0.1:${backlog.port} within 50 ms (timeout.connect)`
    const transport = newTransport()
    await expectFault(request, "upstream_timeout", message, transport)
    await expectFault(request, "upstream_timeout", message, transport)
  })

  test.skipIf(process.platform !== "linux")("gives way to an abort", async () => {
    const backlog = await listenWithFullBacklog()
    cleanups.push(backlog.stop)
    const controller = new AbortController()
    const url = `http://127.0.0.1:${backlog.port}/v1`
    const failed = send(newTransport(), { url, signal: controller.signal, connectTimeoutMs: 60_000 })
    controller.abort("left")
    expect(
      await within(
        "the abort",
        failed.catch((thrown: unknown) => thrown),
      ),
    ).toBe("left")
  })

  test("does not count once the host has accepted, however long the answer takes", async () => {
    const { clock, timers } = recordingClock()
    const sockets: Socket[] = []
    const upstream = listen({ data: (socket) => sockets.push(socket) })
    const reply = send(newTransport({ clock }), { url: upstream.url })
    await waitFor("the request", () => sockets.length > 0)
    await waitFor("the probe's success", () => timers[0]?.isCancelled)
    sockets[0]?.write(OK)
    expect(await (await reply).text()).toBe("ok")
    expect(timers).toHaveLength(1)
  })

  test("costs a connection at the first request and after a failure, not in between", async () => {
    const { clock, timers } = recordingClock()
    let isBroken = false
    const upstream = listen({ data: (socket) => (isBroken ? socket.terminate() : socket.write(OK)) })
    const transport = newTransport({ clock })
    const ask = () => send(transport, { url: upstream.url }).then((response) => response.text())
    await ask()
    await ask()
    expect(timers).toHaveLength(1)
    isBroken = true
    await ask().catch(() => {})
    expect(timers).toHaveLength(1)
    isBroken = false
    await ask()
    expect(timers).toHaveLength(2)
    expect(timers.every(({ isCancelled }) => isCancelled)).toBe(true)
  })

  test("is off behind a proxy, where a connection of our own would miss it", async () => {
    const { clock, timers } = recordingClock()
    const upstream = listen({ data: (socket) => socket.write(OK) })
    await (await send(newTransport({ clock, env: BEHIND_A_PROXY }), { url: upstream.url })).text()
    expect(timers).toEqual([])
  })
})

const BEHIND_A_PROXY = { https_proxy: "http://proxy.internal:3128" }

interface Timer {
  isCancelled: boolean
}

/** Time stands still: a timer never fires, and shows whether it was cancelled. */
function recordingClock(): { readonly clock: Clock; readonly timers: readonly Timer[] } {
  const timers: Timer[] = []
  const after = () => {
    const timer = { isCancelled: false }
    timers.push(timer)
    return () => {
      timer.isCancelled = true
    }
  }
  return { clock: { ...systemClock, after }, timers }
}

function newTransport(options: { clock?: Clock; env?: Record<string, string> } = {}): Transport {
  const transport = createTransport({ clock: systemClock, env: {}, ...options })
  cleanups.push(() => transport.close())
  return transport
}

function send(
  transport: Transport,
  request: Partial<UpstreamRequest> & { readonly url: string },
): Promise<Response> {
  return transport.send({
    provider: "acme",
    method: "POST",
    headers: { authorization: "Bearer the-key" },
    body: bytesOf("{}"),
    signal: new AbortController().signal,
    connectTimeoutMs: 10_000,
    ...request,
  })
}

async function expectFault(
  request: Partial<UpstreamRequest> & { readonly url: string },
  code: GatewayError["code"],
  message: string,
  transport = newTransport(),
): Promise<void> {
  const thrown: unknown = await send(transport, request).catch((reason: unknown) => reason)
  if (!(thrown instanceof GatewayError)) throw new Error(`no GatewayError: ${thrown}`)
  expect(thrown.code).toBe(code)
  expect(thrown.message).toStartWith('provider "acme" ')
  expect(thrown.message).toContain(message)
  expect(thrown.message).not.toContain("the-key")
}

function serve(fetch: (request: Request) => Response | Promise<Response>): string {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch })
  cleanups.push(() => server.stop(true))
  return `http://127.0.0.1:${server.port}/v1`
}

interface SocketScript {
  readonly open?: (socket: Socket) => unknown
  readonly data?: (socket: Socket, bytes: Buffer) => unknown
}

/** A raw TCP server, which may break every rule. */
function listen({ open, data }: SocketScript) {
  let opened = 0
  let closed = 0
  let requests = 0
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        opened++
        open?.(socket)
      },
      data(socket, bytes) {
        requests++
        data?.(socket, bytes)
      },
      close() {
        closed++
      },
    },
  })
  cleanups.push(() => listener.stop(true))
  return {
    url: `http://127.0.0.1:${listener.port}`,
    port: listener.port,
    requests: () => requests,
    closed: (count: number) => waitFor(`${count} closed connections`, () => closed >= count),
    allClosed: () => waitFor("all connections to close", () => closed === opened),
    stop: () => listener.stop(true),
  }
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}
