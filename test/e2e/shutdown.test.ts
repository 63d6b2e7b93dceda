/** SIGTERM: what is open is finished, nothing new is taken. */
import { afterEach, beforeEach, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { freePort } from "../support/free-port.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { isAlive, processTree } from "../support/process.ts"
import { openRaw, rawRequest } from "../support/raw-http.ts"
import { readStream } from "../support/streamed-reply.ts"
import { answers, pausesMidway } from "../support/upstream-scripts.ts"
import { waitFor, within } from "../support/wait.ts"

let upstream: HostileUpstream
let gateway: RunningGateway

beforeEach(() => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine"]))
  upstream.script("held", pausesMidway(["early ", "late"]))
})

afterEach(async () => {
  await gateway?.stop()
  upstream.stop()
})

test("an open stream is finished, new connections are refused, and the exit code is 0", async () => {
  gateway = await start("10s")
  const pids = processTree(gateway.pid)
  const reader = readStream(await postChat(gateway.url, { model: "held", stream: true }))
  await reader.untilText()
  gateway.terminate()
  await waitFor("new connections to be refused", () => isRefused(gateway.port))
  expect(isAlive(gateway.pid)).toBe(true)
  upstream.proceed("held")
  expect(await reader.rest()).toMatchObject({
    text: "early late",
    finishReason: "stop",
    isDone: true,
    error: undefined,
    end: "clean",
  })
  expect(await within("the gateway to end", gateway.exited)).toBe(0)
  expect(pids.filter(isAlive)).toEqual([])
})

test("an open plain request is finished too", async () => {
  upstream.script("slow", async (exchange) => {
    await exchange.go()
    await answers(["worth the wait"])(exchange)
  })
  gateway = await start("10s")
  const asking = postChat(gateway.url, { model: "slow" })
  await waitFor("the provider to be asked", () => upstream.requests("slow")[0])
  gateway.terminate()
  await waitFor("new connections to be refused", () => isRefused(gateway.port))
  upstream.proceed("slow")
  expect(await (await asking).text()).toContain("worth the wait")
  expect(await within("the gateway to end", gateway.exited)).toBe(0)
})

test("a connection that was kept alive is told not to come again", async () => {
  gateway = await start("10s")
  const reader = readStream(await postChat(gateway.url, { model: "held", stream: true }))
  await reader.untilText()
  const connection = await openRaw(gateway.port)
  const ready = rawRequest("GET /ready", [["host", "127.0.0.1"]])
  connection.send(ready)
  expect((await connection.reply())?.status).toBe(200)
  gateway.terminate()
  await waitFor("new connections to be refused", () => isRefused(gateway.port))
  connection.send(ready)
  const reply = await connection.reply()
  // Either is a plain "no": an orderly close, or a 503. A probe that opens a new connection is refused.
  expect(reply?.status ?? 503).toBe(503)
  upstream.proceed("held")
  await reader.rest()
  expect(await within("the gateway to end", gateway.exited)).toBe(0)
})

test("a stream that outlasts drain_timeout is ended, and not as if it were whole", async () => {
  gateway = await start("300ms")
  const reader = readStream(await postChat(gateway.url, { model: "held", stream: true }))
  await reader.untilText()
  gateway.terminate()
  const stream = await reader.rest()
  expect(stream.isDone).toBe(false)
  expect(stream.finishReason).toBeUndefined()
  expect(stream.error !== undefined || stream.end === "broken").toBe(true)
  expect(await within("the gateway to end", gateway.exited, 5_000)).toBe(0)
  await waitFor("the provider to be let go", () => upstream.requests("held")[0]?.abortedAtMs)
})

test("the serving process does not outlive a supervisor that was killed", async () => {
  gateway = await start("1s")
  const pids = processTree(gateway.pid)
  process.kill(gateway.pid, "SIGKILL")
  await waitFor("every process to end", () => pids.every((pid) => !isAlive(pid)))
})

test("a serving process that was killed is replaced, on the same port", async () => {
  gateway = await start("1s", freePort())
  const first = gateway.servingPid()
  expect(first).not.toBe(gateway.pid)
  process.kill(first, "SIGKILL")
  await waitFor("another serving process to answer", async () => {
    const response = await postChat(gateway.url, { model: "good" }).catch(() => undefined)
    return response?.status === 200
  })
  expect(gateway.servingPid()).not.toBe(first)
})

function start(drainTimeout: string, port = 0): Promise<RunningGateway> {
  return startGateway({
    config: {
      server: { port, drain_timeout: drainTimeout },
      providers: [{ name: "up", base_url: upstream.url, models: ["good", "held", "slow"] }],
    },
  })
}

async function isRefused(port: number): Promise<boolean> {
  try {
    const connection = await openRaw(port)
    connection.close()
    return false
  } catch {
    return true
  }
}
