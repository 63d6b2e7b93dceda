/** How monitoring plugins are fed: in batches, in order, one at a time, and to the last item. */
import { describe, expect, test } from "bun:test"
import { GatewayError } from "../../src/errors.ts"
import type { CallEvent, MonitoringEvent, ResponseEvent, TimedMetric } from "../../src/plugin/contract.ts"
import { parsePrometheusText } from "../../src/telemetry/prometheus-text.ts"
import { renderMetrics } from "../support/render-metrics.ts"
import { waitFor } from "../support/wait.ts"
import { Gate, Harness, pluginText } from "./fixtures.ts"

interface Received {
  metrics: TimedMetric[][]
  events: MonitoringEvent[][]
}

/** Where a plugin of these tests puts what it gets. */
class Inbox implements Disposable {
  readonly #key = `leapgate-inbox-${crypto.randomUUID()}`
  readonly received: Received = { metrics: [], events: [] }
  /** The inbox, as source. */
  readonly source = `globalThis["${this.#key}"]`

  constructor() {
    Object.defineProperty(globalThis, this.#key, { value: this.received, configurable: true })
  }

  get values(): readonly number[] {
    return this.received.metrics.flat().map(({ value }) => value)
  }

  [Symbol.dispose](): void {
    Reflect.deleteProperty(globalThis, this.#key)
  }
}

function monitor(inbox: Inbox, { version = "1.0.0", wait = "", more = "" } = {}): string {
  return pluginText({
    name: "monitor",
    version,
    abilities: `
      async recordMetric(batch) { ${wait}; ${inbox.source}.metrics.push(batch); say("got " + batch.length) },
      async recordEvent(batch) { ${inbox.source}.events.push(batch) },
      ${more}`,
  })
}

function tell(harness: Harness, from: number, to = from + 1): void {
  for (let value = from; value < to; value++) {
    harness.registry.current.observe("onMetric", () => ({ name: "n", value, type: "counter" }))
  }
}

function droppedIn(harness: Harness): number | undefined {
  const text = renderMetrics(harness.metrics).body
  const families = parsePrometheusText(text)
  return families.find(({ name }) => name === "leapgate_monitoring_dropped_total")?.samples[0]?.value
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index)

describe("a batch", () => {
  test("goes out by itself, with what came together", async () => {
    using inbox = new Inbox()
    await using harness = new Harness()
    harness.write("monitor.ts", monitor(inbox))
    await harness.registry.loadAll()
    tell(harness, 0, 3)
    await waitFor("the batch", () => inbox.received.metrics.length === 1)
    const [metric] = inbox.received.metrics[0] ?? []
    expect(inbox.values).toEqual([0, 1, 2])
    expect(metric).toEqual({ name: "n", value: 0, type: "counter", timestamp: expect.any(Number) })
    expect(Object.isFrozen(inbox.received.metrics[0]) && Object.isFrozen(metric)).toBe(true)
  })

  test("has at most 500 items, and the next one waits until it was taken", async () => {
    using inbox = new Inbox()
    using gate = new Gate()
    await using harness = new Harness()
    harness.write("monitor.ts", monitor(inbox, { wait: `say("asked"); await ${gate.wait}` }))
    await harness.registry.loadAll()
    tell(harness, 0, 1234)
    await harness.heard("asked 0")
    tell(harness, 1234, 1300)
    expect(harness.said.filter((said) => said === "asked 0")).toHaveLength(1)
    gate.open()
    await waitFor("all of them", () => inbox.values.length === 1300)
    expect(inbox.values).toEqual(range(0, 1300))
    expect(inbox.received.metrics[0]).toHaveLength(500)
    expect(Math.max(...inbox.received.metrics.map(({ length }) => length))).toBe(500)
  })

  test("that fails is lost, is counted as an error of the plugin, and the next one comes", async () => {
    using inbox = new Inbox()
    await using harness = new Harness()
    harness.write("monitor.ts", monitor(inbox, { wait: `if (batch[0].value === 0) throw new Error("no")` }))
    await harness.registry.loadAll()
    tell(harness, 0)
    await waitFor("the error", () => harness.registry.getInfo("monitor").metrics.errors === 1)
    tell(harness, 1)
    await waitFor("the next batch", () => inbox.values.length === 1)
    expect(inbox.values).toEqual([1])
    expect(harness.registry.getInfo("monitor").metrics.last_error?.message).toBe(
      "monitoring.recordMetric: no",
    )
  })

  test("that hangs is cut at the plugin's deadline", async () => {
    using inbox = new Inbox()
    using gate = new Gate()
    await using harness = new Harness()
    harness.entries.monitor = { timeoutMs: 20 }
    harness.write("monitor.ts", monitor(inbox, { wait: `if (batch[0].value === 0) await ${gate.wait}` }))
    await harness.registry.loadAll()
    tell(harness, 0)
    await waitFor("the deadline", () => harness.registry.getInfo("monitor").metrics.timeouts === 1)
    tell(harness, 1)
    await waitFor("the next batch", () => inbox.values.includes(1))
  })
})

test("10,000 items wait; of more the oldest go, and are counted", async () => {
  using inbox = new Inbox()
  using gate = new Gate()
  await using harness = new Harness()
  harness.write("monitor.ts", monitor(inbox, { wait: `say("asked"); await ${gate.wait}` }))
  await harness.registry.loadAll()
  expect(droppedIn(harness)).toBe(0)
  tell(harness, 0)
  await harness.heard("asked 0")
  tell(harness, 1, 10_008)
  expect(droppedIn(harness)).toBe(7)
  gate.open()
  await waitFor("all of them", () => inbox.values.length === 10_001)
  expect(inbox.values).toEqual([0, ...range(8, 10_008)])
})

describe("nothing is lost", () => {
  test("when a version is replaced: it gets what came for it, the next one what comes then", async () => {
    using inbox = new Inbox()
    using newInbox = new Inbox()
    await using harness = new Harness()
    harness.write("monitor.ts", monitor(inbox))
    await harness.registry.loadAll()
    tell(harness, 0, 700)
    harness.write("monitor.ts", monitor(newInbox, { version: "2.0.0" }))
    await harness.registry.reload("monitor")
    tell(harness, 700, 705)
    await harness.heard("monitor gone 1")
    expect(inbox.values).toEqual(range(0, 700))
    await waitFor("the new version's batch", () => newInbox.values.length > 0)
    expect(newInbox.values).toEqual(range(700, 705))
    expect(droppedIn(harness)).toBe(0)
  })

  test("when another plugin is loaded in the meantime", async () => {
    using inbox = new Inbox()
    await using harness = new Harness()
    harness.write("monitor.ts", monitor(inbox))
    await harness.registry.loadAll()
    tell(harness, 0)
    await harness.registry.register(harness.write("other.ts", pluginText({ name: "other" })))
    tell(harness, 1)
    await waitFor("both", () => inbox.values.length === 2)
    expect(inbox.values).toEqual([0, 1])
  })

  test("when everything stops", async () => {
    using inbox = new Inbox()
    const harness = new Harness()
    harness.write("monitor.ts", monitor(inbox))
    await harness.registry.loadAll()
    tell(harness, 0, 1100)
    await harness.registry.shutdownAll()
    expect(inbox.values).toEqual(range(0, 1100))
    expect(harness.said.at(-1)).toBe("monitor gone 1")
  })

  test("but a plugin that hangs cannot hold up its own end", async () => {
    using inbox = new Inbox()
    using gate = new Gate()
    const harness = new Harness()
    harness.entries.monitor = { timeoutMs: 30 }
    harness.write("monitor.ts", monitor(inbox, { wait: `await ${gate.wait}` }))
    await harness.registry.loadAll()
    tell(harness, 0, 1100)
    await harness.registry.shutdownAll()
    expect(inbox.values).toEqual([])
    expect(harness.said.at(-1)).toBe("monitor gone 1")
  })
})

test("an event is plain data, without what was asked and answered, and without the principal's secrets", async () => {
  using inbox = new Inbox()
  await using harness = new Harness()
  harness.write("monitor.ts", monitor(inbox))
  await harness.registry.loadAll()
  const { current } = harness.registry
  const call: CallEvent = {
    operation: "chat",
    requestId: "r",
    traceId: "t",
    generation: 1,
    model: "m",
    provider: "p",
    stream: false,
    principal: {
      name: "ann",
      via: "plugin",
      userId: "u-secret",
      roles: ["r-secret"],
      permissions: [],
      metadata: { token: "t-secret" },
    },
    userId: "u-secret",
    startTime: 1,
    attempt: 1,
    metadata: { prompt: "m-secret" },
  }
  const answered: ResponseEvent = {
    ...call,
    get response(): never {
      throw new Error("nobody may read it")
    },
    responseStatus: 200,
    durationMs: 5,
    usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
    tokensUsed: 3,
    costUsd: undefined,
    cacheHit: false,
  }
  current.observe("onResponse", () => answered)
  current.observe("onError", () => ({
    ...call,
    error: new GatewayError("upstream_timeout", "too slow", {
      cause: new Error("c-secret"),
      details: "d-secret",
    }),
    errorType: "timeout",
    retryable: true,
    durationMs: 5,
  }))
  current.observe("onCacheEvent", () => ({
    plugin: "c",
    eventType: "hit",
    key: "k",
    timestamp: 1,
    ...{ value: "v-secret" },
  }))
  await waitFor("the events", () => inbox.received.events.flat().length === 3)
  const events = inbox.received.events.flat()
  expect(events.map(({ name }) => name)).toEqual(["onResponse", "onError", "onCacheEvent"])
  expect(events[0]?.attributes).toMatchObject({
    requestId: "r",
    principal: "ann",
    responseStatus: 200,
    usage: { total_tokens: 3 },
  })
  expect(events[1]?.attributes).toMatchObject({ error: { code: "upstream_timeout", message: "too slow" } })
  expect(structuredClone(events)).toEqual(events)
  expect(JSON.stringify(events)).not.toContain("secret")
  expect(events.every((event) => Object.isFrozen(event) && Object.isFrozen(event.attributes))).toBe(true)
})

test("where nobody monitors and nobody observes, no event is made", async () => {
  await using harness = new Harness()
  harness.write("quiet.ts", pluginText({ name: "quiet" }))
  await harness.registry.loadAll()
  let made = 0
  harness.registry.current.observe("onMetric", () => ({ name: "n", value: ++made, type: "counter" }))
  expect(made).toBe(0)
})
