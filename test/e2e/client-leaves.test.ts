/** Clients that leave, and clients that do not read. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { askPlain, postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { residentBytes } from "../support/process.ts"
import { openRaw, rawRequest } from "../support/raw-http.ts"
import { readStream } from "../support/streamed-reply.ts"
import { answers, talksForEver } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

const MIB = 2 ** 20

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("silent", ({ gone }) => gone)
  upstream.script("endless", talksForEver(64 * 1024))
  upstream.script("good", answers(["good"]))
  gateway = await startGateway({
    config: {
      providers: [{ name: "scripted", base_url: upstream.url, models: ["silent", "endless", "good"] }],
    },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

test.each([
  ["a plain request", false],
  ["a streamed request before its first event", true],
] as const)("leaving %s stops the upstream", async (_, stream) => {
  const controller = new AbortController()
  const seen = upstream.requests("silent").length
  const asking = postChat(gateway.url, { model: "silent", stream, signal: controller.signal })
  asking.catch(() => {})
  const request = await waitFor("the upstream to be asked", () => upstream.requests("silent")[seen])
  controller.abort()
  await waitFor("the upstream to see the abort", () => request.abortedAtMs)
  expect(upstream.requests("silent")).toHaveLength(seen + 1)
})

test("leaving in mid-stream stops the upstream", async () => {
  const controller = new AbortController()
  const reader = readStream(
    await postChat(gateway.url, { model: "endless", stream: true, signal: controller.signal }),
  )
  await reader.untilText()
  controller.abort()
  await waitFor("the upstream to see the abort", () => upstream.requests("endless").at(-1)?.abortedAtMs)
})

test("a client that does not read holds the upstream back instead of filling memory", async () => {
  const residentBefore = residentBytes(gateway.servingPid())
  const connection = await openRaw(gateway.port)
  const body = JSON.stringify({
    model: "endless",
    stream: true,
    messages: [{ role: "user", content: "x" }],
  })
  const seen = upstream.requests("endless").length
  connection.pause()
  connection.send(
    rawRequest(
      "POST /v1/chat/completions",
      [
        ["host", `127.0.0.1:${gateway.port}`],
        ["content-type", "application/json"],
      ],
      body,
    ),
  )
  const request = await waitFor("the upstream to be asked", () => upstream.requests("endless")[seen])
  await waitFor("the upstream to be held back", async () => {
    const before = request.sentBytes
    await Bun.sleep(250)
    return before > 0 && request.sentBytes === before
  })
  expect(request.sentBytes).toBeLessThan(64 * MIB)
  expect(residentBytes(gateway.servingPid()) - residentBefore).toBeLessThan(128 * MIB)
  expect(await askPlain(gateway.url, "good")).toBe("good")

  connection.cut()
  await waitFor("the upstream to see the abort", () => request.abortedAtMs)
})

test("a client that leaves while others are served costs them nothing", async () => {
  const leaving = Array.from({ length: 50 }, async () => {
    const controller = new AbortController()
    const model = "silent"
    const asking = postChat(gateway.url, { model, stream: true, signal: controller.signal })
    setTimeout(() => controller.abort(), Math.random() * 50)
    await asking.catch(() => {})
  })
  const staying = Array.from({ length: 50 }, () => askPlain(gateway.url, "good"))
  expect(new Set(await Promise.all(staying))).toEqual(new Set(["good"]))
  await Promise.all(leaving)
  await waitFor("every upstream request to be stopped", () =>
    upstream.requests("silent").every((request) => request.abortedAtMs !== undefined),
  )
})
