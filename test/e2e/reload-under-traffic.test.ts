/** Plugins change while requests and streams are running: none may fail, none may be cut. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readStream, readWholeStream } from "../support/streamed-reply.ts"
import { answers, pausesMidway, speaksSlowly } from "../support/upstream-scripts.ts"

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
  let isOver = false
  const failures: string[] = []
  let plainAnswers = 0
  let streams = 0

  const plainCallers = Array.from({ length: 6 }, async () => {
    while (!isOver) {
      const response = await postChat(gateway.url, { model: "good" })
      const text = await response.text()
      if (response.status !== 200 || !text.includes("fine")) failures.push(`${response.status} ${text}`)
      plainAnswers++
    }
  })
  const streamCallers = Array.from({ length: 6 }, async () => {
    while (!isOver) {
      const stream = await readWholeStream(await postChat(gateway.url, { model: "slow", stream: true }))
      const isWhole = stream.text === WORDS.join("") && stream.isDone && stream.end === "clean"
      if (!isWhole) failures.push(JSON.stringify(stream).slice(0, 500))
      streams++
    }
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
    isOver = true
    await Promise.all([...plainCallers, ...streamCallers])
  }

  expect(failures).toEqual([])
  expect(plainAnswers).toBeGreaterThan(50)
  expect(streams).toBeGreaterThan(6)
  console.log(`${plainAnswers} answers and ${streams} streams through ${RELOADS} changes, none failed`)
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

/** Puts its number on every reply and every chunk. */
function versioned(number: number): string {
  return `import { definePlugin } from "leapgate/plugin"

export default definePlugin({
  name: "versioned",
  version: "1.0.${number}",
  type: "middleware",
  setup: () => ({
    beforeHandle(context) {
      context.setHeader("x-version", "${number}")
    },
    hooks: { onChunk: ({ chunk }) => ({ ...chunk, by: ${number} }) },
  }),
})`
}
