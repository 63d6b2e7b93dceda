import { afterEach, describe, expect, test } from "bun:test"
import { createHmac } from "node:crypto"
import type { MonitoringEvent } from "leapgate/plugin"
import { setUpPlugin } from "../test/plugin-context.ts"
import { postChat } from "../test/support/chat.ts"
import { startGateway } from "../test/support/gateway.ts"
import { waitFor } from "../test/support/wait.ts"
import webhookEvents from "./webhook-events.ts"

interface Delivery {
  readonly headers: Headers
  readonly body: string
  readonly events: readonly (MonitoringEvent & { readonly id: string })[]
}

/** Where the events go: it answers as the test says, one status a request, and the last one for ever. */
class Receiver {
  readonly deliveries: Delivery[] = []
  readonly #answers: (() => Response | Promise<Response>)[]
  readonly #server

  constructor(...answers: (() => Response | Promise<Response>)[]) {
    this.#answers = answers
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => {
        const body = await request.text()
        this.deliveries.push({ headers: request.headers, body, events: JSON.parse(body).events })
        const answer = this.#answers.length > 1 ? this.#answers.shift() : this.#answers[0]
        return answer?.() ?? new Response("ok")
      },
    })
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}/hook`
  }

  get names(): readonly number[] {
    return this.deliveries.flatMap(({ events }) => events.map(({ timestamp }) => timestamp))
  }

  stop(): void {
    void this.#server.stop(true)
  }
}

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

const status =
  (code: number, headers: Record<string, string> = {}) =>
  () =>
    new Response(null, { status: code, headers })

async function start(receiver: Receiver, config: Record<string, unknown> = {}) {
  const plugin = await setUpPlugin(webhookEvents, {
    config: { url: receiver.url, batch: { max: 100, wait: "1ms" }, ...config },
  })
  cleanUps.push(() => receiver.stop())
  return plugin
}

const events = (from: number, to: number, name = "onResponse"): MonitoringEvent[] =>
  Array.from({ length: to - from }, (_, index) => ({ name, timestamp: from + index, attributes: { a: 1 } }))

const range = (from: number, to: number) => events(from, to).map(({ timestamp }) => timestamp)

test("events are sent as JSON, with an id each", async () => {
  const receiver = new Receiver()
  const { abilities } = await start(receiver, { headers: { "x-team": "a" } })
  await abilities.recordEvent?.(events(0, 2))
  await waitFor("the delivery", () => receiver.deliveries.length === 1)
  const { headers, events: sent } = receiver.deliveries[0] as Delivery
  expect(headers.get("content-type")).toBe("application/json")
  expect(headers.get("x-team")).toBe("a")
  expect(headers.has("x-leapgate-signature")).toBe(false)
  expect(sent).toEqual([
    { id: expect.any(String), name: "onResponse", timestamp: 0, attributes: { a: 1 } },
    { id: expect.any(String), name: "onResponse", timestamp: 1, attributes: { a: 1 } },
  ])
  expect(sent[0]?.id).not.toBe(sent[1]?.id)
})

test("with a secret, the body and the time are signed", async () => {
  const receiver = new Receiver()
  const { abilities } = await start(receiver, { secret: "shh" })
  await abilities.recordEvent?.(events(0, 1))
  await waitFor("the delivery", () => receiver.deliveries.length === 1)
  const { headers, body } = receiver.deliveries[0] as Delivery
  const [, time, digest] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers.get("x-leapgate-signature") ?? "") ?? []
  expect(Math.abs(Number(time) - Date.now() / 1000)).toBeLessThan(60)
  expect(digest).toBe(createHmac("sha256", "shh").update(`${time}.${body}`).digest("hex"))
})

test("only the events that are listed are sent", async () => {
  const receiver = new Receiver()
  const { abilities, dispose } = await start(receiver, { events: ["onError"] })
  await abilities.recordEvent?.([...events(0, 2), ...events(2, 3, "onError"), ...events(3, 4, "onStreamEnd")])
  await dispose()
  expect(receiver.names).toEqual([2])
})

describe("batches", () => {
  test("have at most batch.max events, and keep the order", async () => {
    const receiver = new Receiver()
    const { abilities } = await start(receiver, { batch: { max: 10, wait: "1ms" } })
    await abilities.recordEvent?.(events(0, 25))
    await waitFor("all events", () => receiver.names.length === 25)
    expect(receiver.names).toEqual(range(0, 25))
    expect(receiver.deliveries.map(({ events: sent }) => sent.length)).toEqual([10, 10, 5])
  })

  test("go when they are full, without waiting on", async () => {
    const receiver = new Receiver()
    const { abilities } = await start(receiver, { batch: { max: 4, wait: "1h" } })
    await abilities.recordEvent?.(events(0, 2))
    await abilities.recordEvent?.(events(2, 4))
    await waitFor("the batch", () => receiver.names.length === 4)
  })
})

describe("a delivery that fails", () => {
  test.each([
    ["a server error", status(500)],
    ["too many requests", status(429)],
    ["a request timeout", status(408)],
  ])("with %s is tried again, with the same ids", async (_, failing) => {
    const receiver = new Receiver(failing, status(200))
    const { abilities } = await start(receiver)
    await abilities.recordEvent?.(events(0, 2))
    await waitFor("the second try", () => receiver.deliveries.length === 2)
    expect(receiver.deliveries[1]?.events).toEqual(receiver.deliveries[0]?.events as Delivery["events"])
  })

  test("waits as long as retry-after says", async () => {
    const receiver = new Receiver(status(503, { "retry-after": "0" }), status(503, { "retry-after": "3600" }))
    const { abilities, metrics, dispose } = await start(receiver)
    await abilities.recordEvent?.(events(0, 1))
    await waitFor("the second try", () => receiver.deliveries.length === 2)
    // Only its end cuts the long pause short; then there is one last try.
    await dispose()
    expect(receiver.deliveries).toHaveLength(3)
    expect(metrics).toEqual([dropped(1, "undeliverable")])
  })

  test.each([400, 401, 404, 410, 302])("with %d is not tried again", async (code) => {
    const receiver = new Receiver(status(code, { location: "http://127.0.0.1:1/" }), status(200))
    const { abilities, metrics, lines } = await start(receiver)
    await abilities.recordEvent?.(events(0, 2))
    await waitFor("the events to be given up", () => metrics.length === 1)
    await abilities.recordEvent?.(events(2, 3))
    await waitFor("the next delivery", () => receiver.deliveries.length === 2)
    expect(receiver.names).toEqual([0, 1, 2])
    expect(metrics).toEqual([dropped(2, "undeliverable")])
    expect(lines.at(-1)).toMatchObject({ events: 2, reason: `status ${code}` })
  })

  test("is given up after so many retries", async () => {
    const receiver = new Receiver(status(500, { "retry-after": "0" }))
    const { abilities, metrics } = await start(receiver, { retries: 2 })
    await abilities.recordEvent?.(events(0, 1))
    await waitFor("the events to be given up", () => metrics.length === 1)
    expect(receiver.deliveries).toHaveLength(3)
  })

  test("because nobody answers is cut and tried again", async () => {
    const receiver = new Receiver(() => new Promise<Response>(() => {}), status(200))
    const { abilities } = await start(receiver, { timeout: "50ms" })
    await abilities.recordEvent?.(events(0, 1))
    await waitFor("the second try", () => receiver.deliveries.length === 2)
  })
})

test("of more events than may wait the oldest go, and are counted", async () => {
  const gate = Promise.withResolvers<Response>()
  const receiver = new Receiver(() => gate.promise, status(200))
  const { abilities, metrics } = await start(receiver, { queue: 5, batch: { max: 2, wait: "1ms" } })
  await abilities.recordEvent?.(events(0, 2))
  await waitFor("the first batch", () => receiver.deliveries.length === 1)
  await abilities.recordEvent?.(events(2, 10))
  expect(metrics).toEqual([dropped(3, "queue_full")])
  gate.resolve(new Response("ok"))
  await waitFor("the rest", () => receiver.names.length === 7)
  expect(receiver.names).toEqual([0, 1, ...range(5, 10)])
})

test("what waits is sent when the plugin goes", async () => {
  const receiver = new Receiver()
  const { abilities, dispose } = await start(receiver, { batch: { max: 10, wait: "1h" } })
  await abilities.recordEvent?.(events(0, 13))
  await dispose()
  expect(receiver.names).toEqual(range(0, 13))
})

test("a gateway tells of its answers, and tells all of them before it ends", async () => {
  const receiver = new Receiver()
  cleanUps.push(() => receiver.stop())
  const gateway = await startGateway({
    config: {
      plugins: {
        configs: {
          "example-provider": {},
          "webhook-events": { config: { url: receiver.url, events: ["onResponse"], batch: { wait: "1h" } } },
        },
      },
    },
  })
  cleanUps.push(() => gateway.stop())
  for (let i = 0; i < 3; i++) expect((await postChat(gateway.url, { model: "demo" })).status).toBe(200)
  expect(receiver.deliveries).toHaveLength(0)
  gateway.terminate()
  await gateway.exited
  const sent = receiver.deliveries.flatMap(({ events: told }) => told)
  expect(sent.map(({ name, attributes }) => [name, attributes.model, attributes.principal])).toEqual(
    Array(3).fill(["onResponse", "demo", "anonymous"]),
  )
})

function dropped(value: number, reason: string) {
  return { name: "webhook_events.dropped", value, type: "counter", tags: { reason } } as const
}
