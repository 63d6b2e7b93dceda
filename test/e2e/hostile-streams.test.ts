/** Streamed requests to providers that break in every way there is. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { askPlain, errorOf, postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import {
  DEBATABLE_STREAMS,
  FAULTS_AFTER_THE_FIRST_EVENT,
  FAULTS_BEFORE_THE_FIRST_EVENT,
  ODD_BUT_WHOLE_STREAMS,
} from "../support/hostile-faults.ts"
import { startHostileUpstream } from "../support/hostile-upstream.ts"
import { readStream, readWholeStream } from "../support/streamed-reply.ts"
import { answers, HOSTILE_WORDS } from "../support/upstream-scripts.ts"

const HOSTILE_TEXT = HOSTILE_WORDS.join("")
const HEALTHY_TEXT = "bravo bravo bravo"

const before = Object.keys(FAULTS_BEFORE_THE_FIRST_EVENT)
const after = Object.keys(FAULTS_AFTER_THE_FIRST_EVENT)
const odd = Object.keys(ODD_BUT_WHOLE_STREAMS)
const debatable = Object.keys(DEBATABLE_STREAMS)

const hostile = startHostileUpstream()
const healthy = startHostileUpstream()
let gateway: RunningGateway
let firstServingPid: number

beforeAll(async () => {
  healthy.script("good", answers(["bravo ", "bravo ", "bravo"]))
  const faults = { ...FAULTS_BEFORE_THE_FIRST_EVENT, ...DEBATABLE_STREAMS, ...ODD_BUT_WHOLE_STREAMS }
  for (const [name, script] of Object.entries(faults)) hostile.script(slug(name), script)
  for (const [name, script] of Object.entries(FAULTS_AFTER_THE_FIRST_EVENT)) {
    hostile.script(midway(name), script)
  }
  gateway = await startGateway({ config: config() })
  firstServingPid = gateway.servingPid()
})

afterAll(async () => {
  await gateway?.stop()
  hostile.stop()
  healthy.stop()
})

describe("before the first event", () => {
  test.each(before)("an upstream that %s is failed over, and the answer is whole", async (name) => {
    const response = await postChat(gateway.url, { model: withFailover(slug(name)), stream: true })
    const stream = await readWholeStream(response)
    expect(stream).toMatchObject({ text: HEALTHY_TEXT, finishReason: "stop", isDone: true, end: "clean" })
    expect(stream).toMatchObject({ error: undefined, garbage: [], afterTheEnd: [] })
    expect(hostile.requests(slug(name)).length).toBeGreaterThanOrEqual(1)
    await expectHealth()
  })

  test.each(before)("an upstream that %s and has no stand-in is an HTTP error", async (name) => {
    const response = await postChat(gateway.url, { model: alone(slug(name)), stream: true })
    expect(response.status).toBeOneOf([502, 503, 504])
    expect(response.headers.get("content-type")).toStartWith("application/json")
    const error = await errorOf(response)
    expect(error).toMatchObject({ type: "server_error", code: expect.stringMatching(/^upstream_/) })
    expect(error.message).toContain(slug(name))
    await expectHealth()
  })

  test.each(["never answers", "stalls after the headers", "sends comments for ever"])(
    "an upstream that %s is a timeout that names the limit",
    async (name) => {
      const response = await postChat(gateway.url, { model: alone(slug(name)), stream: true })
      expect(response.status).toBe(504)
      const error = await errorOf(response)
      expect(error.code).toBe("upstream_timeout")
      expect(error.message).toContain("first_token")
    },
  )
})

describe("after the first event", () => {
  test.each(after)("an upstream that %s ends in an error event, and nobody else is asked", async (name) => {
    const model = midway(name)
    const askedBefore = healthy.requests().length
    const reader = readStream(await postChat(gateway.url, { model: withFailover(model), stream: true }))
    await reader.untilText()
    hostile.proceed(model)
    const stream = await reader.rest()

    expect(stream.error).toMatchObject({ code: expect.stringMatching(/^upstream_/), type: "server_error" })
    expect(stream.error?.message).toContain(model)
    expect(stream).toMatchObject({ isDone: false, finishReason: undefined, afterTheEnd: [], end: "clean" })
    expect(HOSTILE_TEXT).toStartWith(stream.text)
    // Bytes are passed on unread, so a provider's garbage may get through; half an event may not.
    if (name !== "sends a garbage event") expect(stream.garbage).toEqual([])
    expect(hostile.requests(model)).toHaveLength(1)
    expect(healthy.requests().length).toBe(askedBefore)
    await expectHealth()
  })
})

describe("odd but whole", () => {
  test.each(odd)("a stream that %s arrives whole", async (name) => {
    const response = await postChat(gateway.url, { model: withFailover(slug(name)), stream: true })
    expect(response.headers.get("content-type")).toStartWith("text/event-stream")
    expect(response.headers.get("content-encoding")).toBeNull()
    const stream = await readWholeStream(response)
    expect(stream).toMatchObject({ text: HOSTILE_TEXT, finishReason: "stop", error: undefined, end: "clean" })
    expect(stream.garbage).toEqual([])
    expect(stream.afterTheEnd).toEqual([])
    await expectHealth()
  })

  test.each(debatable)("an upstream that %s costs nobody an answer", async (name) => {
    const response = await postChat(gateway.url, { model: withFailover(slug(name)), stream: true })
    const stream = await readWholeStream(response)
    expect(stream.text).toBeOneOf([HOSTILE_TEXT, HEALTHY_TEXT])
    expect(stream).toMatchObject({ finishReason: "stop", error: undefined, garbage: [], end: "clean" })
    await expectHealth()
  })
})

test("one process served all of this", () => {
  expect(gateway.servingPid()).toBe(firstServingPid)
})

async function expectHealth(): Promise<void> {
  expect(await askPlain(gateway.url, "healthy/good")).toBe(HEALTHY_TEXT)
}

/** Each fault has a provider of its own, so that no breaker mixes them up. */
function config() {
  const impatient = { connect: "1s", first_token: "400ms", between_chunks: "400ms", total: "3s" }
  const faulty = [...before.map(slug), ...after.map(midway)]
  const whole = [...odd, ...debatable].map(slug)
  const providers = [
    ...faulty.map((name) => ({ name, base_url: hostile.url, models: [name], timeout: impatient })),
    ...whole.map((name) => ({ name, base_url: hostile.url, models: [name] })),
    { name: "healthy", base_url: healthy.url, models: ["good"] },
  ]
  const aliases = [...faulty, ...whole].map((name) => [withFailover(name), [alone(name), "healthy/good"]])
  return { providers, models: Object.fromEntries(aliases), routing: { max_retries: 1 } }
}

function slug(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "")
}

function midway(name: string): string {
  return `midway-${slug(name)}`
}

function alone(name: string): string {
  return `${name}/${name}`
}

function withFailover(name: string): string {
  return `backed-${name}`
}
