/** Ten reloads a second while requests and streams are running: none may fail, none may be cut. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readWholeStream } from "../support/streamed-reply.ts"
import { answers, speaksSlowly } from "../support/upstream-scripts.ts"

const RELOADS = 200
const PACE_MS = 100
const WORDS = Array.from({ length: 30 }, (_, index) => `word-${index} `)

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine"]))
  upstream.script("slow", speaksSlowly(WORDS, 30))
  gateway = await startGateway({
    config: {
      providers: [{ name: "up", base_url: upstream.url, models: ["good", "slow"] }],
      // Every reload is one that the test asks for, so that they can be counted.
      plugins: { hot_reload: false },
      telemetry: { logs: { level: "error" } },
    },
    plugins: { "versioned.ts": versioned(0) },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

test("200 reloads under load fail no request and cut no stream, and each request has one version", async () => {
  let isOver = false
  const failures: string[] = []
  let plainAnswers = 0
  let streams = 0

  const plainCallers = Array.from({ length: 4 }, async () => {
    while (!isOver) {
      const response = await postChat(gateway.url, { model: "good" })
      const text = await response.text()
      const [before, after] = [response.headers.get("x-before"), response.headers.get("x-after")]
      if (response.status !== 200 || !text.includes("fine") || before !== after) {
        failures.push(`${response.status} ${before} ${after} ${text}`)
      }
      plainAnswers++
    }
  })
  const streamCallers = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      const stream = await readWholeStream(await postChat(gateway.url, { model: "slow", stream: true }))
      const isWhole = stream.text === WORDS.join("") && stream.isDone && stream.end === "clean"
      const versions = new Set(stream.chunks.map((chunk) => chunk.by))
      if (!isWhole || versions.size !== 1) failures.push(JSON.stringify(stream).slice(0, 500))
      streams++
    }
  })

  const startMs = performance.now()
  let elapsedMs = 0
  try {
    for (let version = 1; version <= RELOADS; version++) {
      await gateway.writePlugin("versioned.ts", versioned(version))
      const response = await fetch(`${gateway.adminUrl}/plugins/versioned/reload`, { method: "POST" })
      expect(`${response.status} ${await response.text()}`).toStartWith("200")
      await Bun.sleep(Math.max(0, startMs + version * PACE_MS - performance.now()))
    }
    elapsedMs = performance.now() - startMs
  } finally {
    isOver = true
    await Promise.all([...plainCallers, ...streamCallers])
  }

  const info: unknown = await (await fetch(`${gateway.adminUrl}/plugins/versioned`)).json()
  expect(failures).toEqual([])
  const version = `1.0.${RELOADS}`
  expect(info).toMatchObject({ version, state: "active", error: null, generation: 1 + RELOADS })
  expect(plainAnswers).toBeGreaterThan(100)
  expect(streams).toBeGreaterThan(8)
  console.log(
    `${plainAnswers} answers and ${streams} streams through ${RELOADS} reloads in ${(elapsedMs / 1000).toFixed(1)} s, none failed`,
  )
}, 120_000)

/** Puts its number on both ends of every reply, and on every chunk. */
function versioned(number: number): string {
  return `import { definePlugin } from "leapgate/plugin"

export default definePlugin({
  name: "versioned",
  version: "1.0.${number}",
  type: "middleware",
  setup: () => ({
    beforeHandle: (context) => context.setHeader("x-before", "${number}"),
    afterHandle: (context) => context.setHeader("x-after", "${number}"),
    hooks: { onChunk: ({ chunk }) => ({ ...chunk, by: ${number} }) },
  }),
})`
}
