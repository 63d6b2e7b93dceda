/** Ten reloads a second while requests and streams are running: none may fail, none may be cut. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { startTraffic } from "../support/traffic.ts"
import { answers, speaksSlowly } from "../support/upstream-scripts.ts"
import { versioned } from "../support/versioned-plugin.ts"

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
  const traffic = startTraffic(gateway.url, {
    plain: { model: "good", callers: 4 },
    streamed: { model: "slow", callers: 8, words: WORDS },
    isGood: ({ headers }) => headers.get("x-version") === headers.get("x-version-after"),
    isGoodStream: ({ chunks }) => new Set(chunks.map((chunk) => chunk.by)).size === 1,
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
    await traffic.stop()
  }

  const info: unknown = await (await fetch(`${gateway.adminUrl}/plugins/versioned`)).json()
  expect(traffic.failures).toEqual([])
  const version = `1.0.${RELOADS}`
  expect(info).toMatchObject({ version, state: "active", error: null, generation: 1 + RELOADS })
  expect(traffic.plainAnswers()).toBeGreaterThan(100)
  expect(traffic.streams()).toBeGreaterThan(8)
  console.log(
    `${traffic.plainAnswers()} answers and ${traffic.streams()} streams through ${RELOADS} reloads in ${(elapsedMs / 1000).toFixed(1)} s, none failed`,
  )
}, 120_000)
