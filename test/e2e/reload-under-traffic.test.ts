/** Plugins change while requests and streams are running: none may fail, none may be cut. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readStream } from "../support/streamed-reply.ts"
import { startTraffic } from "../support/traffic.ts"
import { answers, pausesMidway, speaksSlowly } from "../support/upstream-scripts.ts"
import { versioned } from "../support/versioned-plugin.ts"

/** The last change switches the plugin on again. */
const RELOADS = 26
const WORDS = Array.from({ length: 20 }, (_, index) => `word-${index} `)

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine"]))
  upstream.script("slow", speaksSlowly(WORDS, 20))
  upstream.script("held", pausesMidway(["early ", "late"]))
  gateway = await startGateway({
    config: { providers: [{ name: "up", base_url: upstream.url, models: ["good", "slow", "held"] }] },
    plugins: { "versioned.ts": versioned(0) },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

test("requests and streams go on through reloads, edits, broken saves and switching off", async () => {
  const traffic = startTraffic(gateway.url, {
    plain: { model: "good", callers: 6 },
    streamed: { model: "slow", callers: 6, words: WORDS },
  })

  try {
    for (let version = 1; version <= RELOADS; version++) {
      const isBroken = version % 6 === 0
      await gateway.writePlugin("versioned.ts", isBroken ? "export const = broken" : versioned(version))
      const response = await post(["reload", "disable", "enable"][version % 3] ?? "")
      const answer = `${response.status} ${await response.text()}`
      expect(answer).toStartWith(isBroken ? "500" : "200")
      await Bun.sleep(80)
    }
  } finally {
    await traffic.stop()
  }

  expect(traffic.failures).toEqual([])
  expect(traffic.plainAnswers()).toBeGreaterThan(50)
  expect(traffic.streams()).toBeGreaterThan(6)
  console.log(
    `${traffic.plainAnswers()} answers and ${traffic.streams()} streams through ${RELOADS} changes, none failed`,
  )
}, 30_000)

test("an open stream ends with the version it began with, and a new one gets the new version", async () => {
  await gateway.writePlugin("versioned.ts", versioned(100))
  expect((await post("reload")).status).toBe(200)
  const old = readStream(await postChat(gateway.url, { model: "held", stream: true }))
  await old.untilText()
  await gateway.writePlugin("versioned.ts", versioned(200))
  expect((await post("reload")).status).toBe(200)
  const fresh = await postChat(gateway.url, { model: "good" })
  expect(fresh.headers.get("x-version")).toBe("200")
  upstream.proceed("held")
  const stream = await old.rest()
  expect(stream).toMatchObject({ text: "early late", finishReason: "stop", isDone: true, end: "clean" })
  expect(stream.chunks.map((chunk) => chunk.by)).toEqual(stream.chunks.map(() => 100))
})

function post(operation: string): Promise<Response> {
  return fetch(`${gateway.adminUrl}/plugins/versioned/${operation}`, { method: "POST" })
}
