import { describe, expect, test } from "bun:test"
import { MetricStore } from "../../src/telemetry/store.ts"

/** The label values of a metric's series. */
function seriesOf(store: MetricStore, name: string): (readonly string[])[] {
  const family = [...store.families()].find((candidate) => candidate.name === name)
  return [...(family?.series.values() ?? [])].map(({ values }) => values)
}

const SERVING = { version: "1.0.0", role: "stable" } as const

describe("series", () => {
  test("the same labels are the same series, whatever their order", () => {
    const store = new MetricStore()
    store.counter("gateway.attempts", { provider: "a", outcome: "ok" }).add()
    store.counter("gateway.attempts", { outcome: "ok", provider: "a" }).add(2)
    expect(store.counter("gateway.attempts", { provider: "a", outcome: "ok" }).value).toBe(3)
    expect(store.counter("gateway.attempts", { provider: "ok", outcome: "a" }).value).toBe(0)
  })

  test("numbers are labels too", () => {
    const store = new MetricStore()
    const labels = { "http.request.method": "GET", "http.route": "/", "http.response.status_code": 200 }
    store.histogram("http.server.request.duration", labels).record(1)
    const asText = { ...labels, "http.response.status_code": "200" }
    expect(store.histogram("http.server.request.duration", asText).count).toBe(1)
  })

  test("a counter only grows", () => {
    const counter = new MetricStore().counter("gateway.errors", { code: "x" })
    counter.add(2)
    counter.add(-1)
    counter.add(Number.NaN)
    expect(counter.value).toBe(2)
  })

  test("a gauge goes up and down", () => {
    const gauge = new MetricStore().gauge("gateway.streams.active", {})
    gauge.set(5)
    gauge.add(-2)
    expect(gauge.value).toBe(3)
  })

  test("a histogram counts a value in the first bucket that is not below it", () => {
    const histogram = new MetricStore().histogram("gen_ai.server.time_to_first_token", {
      "gen_ai.provider.name": "a",
      "gen_ai.request.model": "m",
    })
    for (const value of [0, 0.001, 0.0011, 10, 11]) histogram.record(value)
    expect([...histogram.counts]).toEqual([2, 1, ...Array(13).fill(0), 1, 1])
    expect(histogram.count).toBe(5)
    expect(histogram.sum).toBeCloseTo(21.0021)
  })

  test("a histogram ignores what would spoil its sum", () => {
    const histogram = new MetricStore().histogram("gateway.overhead", {})
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) histogram.record(value)
    expect([histogram.count, histogram.sum]).toEqual([0, 0])
  })

  test("names, labels and kinds are checked by the compiler", () => {
    const store = new MetricStore()
    // @ts-expect-error: no such metric
    expect(() => store.counter("gateway.nothing", {})).toThrow("no metric is called gateway.nothing")
    // @ts-expect-error: a histogram is no counter
    store.counter("gateway.overhead", {})
    // @ts-expect-error: a label is missing
    store.counter("gateway.attempts", { provider: "a" })
    // @ts-expect-error: a label is misspelt
    store.counter("gateway.errors", { cod: "a" })
  })
})

describe("observed values", () => {
  test("they are read when they are asked for", () => {
    const store = new MetricStore()
    let value = 1
    store.observe("process.uptime", {}, () => value)
    const series = [
      ...([...store.families()].find(({ name }) => name === "process.uptime")?.series.values() ?? []),
    ]
    value = 2
    expect(series).toMatchObject([{ value: 2 }])
  })

  test("observing anew replaces, and the old function then takes nothing away", () => {
    const store = new MetricStore()
    const labels = { plugin: "a", state: "active" }
    const stopOld = store.observe("gateway.plugin.state", labels, () => 0)
    const stopNew = store.observe("gateway.plugin.state", labels, () => 1)
    stopOld()
    expect(seriesOf(store, "gateway.plugin.state")).toEqual([["a", "active"]])
    stopNew()
    expect(seriesOf(store, "gateway.plugin.state")).toEqual([])
  })

  test("a series is either observed or written to", () => {
    const store = new MetricStore()
    store.observe("gateway.streams.active", {}, () => 1)
    expect(() => store.gauge("gateway.streams.active", {})).toThrow("gateway.streams.active is observed")
  })
})

describe("limits", () => {
  test("series beyond the limit share one, and are counted", () => {
    const store = new MetricStore({ maxSeries: 3 })
    for (let index = 0; index < 10; index++) store.counter("gateway.errors", { code: `code-${index}` }).add()
    expect(seriesOf(store, "gateway.errors")).toEqual([["code-0"], ["code-1"], ["code-2"], ["__overflow__"]])
    expect(store.counter("gateway.errors", { code: "__overflow__" }).value).toBe(7)
    expect(store.counter("gateway.telemetry.series_overflow", { family: "gateway.errors" }).value).toBe(7)
  })

  test("a series that is there already goes on at the limit", () => {
    const store = new MetricStore({ maxSeries: 1 })
    const known = store.counter("gateway.errors", { code: "a" })
    store.counter("gateway.errors", { code: "b" })
    expect(store.counter("gateway.errors", { code: "a" })).toBe(known)
  })

  test("one metric at its limit leaves the others alone", () => {
    const store = new MetricStore({ maxSeries: 1 })
    for (const code of ["a", "b"]) store.counter("gateway.errors", { code })
    store.counter("gateway.plugin.calls", { plugin: "p", ...SERVING }).add()
    expect(store.counter("gateway.plugin.calls", { plugin: "p", ...SERVING }).value).toBe(1)
  })

  test("every metric can be at its limit and still be told about", () => {
    const store = new MetricStore({ maxSeries: 1 })
    for (const value of ["a", "b"]) {
      store.counter("gateway.errors", { code: value })
      store.counter("gateway.plugin.calls", { plugin: value, ...SERVING })
      store.observe("gateway.plugin.state", { plugin: value, state: "active" }, () => 1)
    }
    expect(seriesOf(store, "gateway.telemetry.series_overflow")).toEqual([
      ["gateway.errors"],
      ["gateway.plugin.calls"],
      ["gateway.plugin.state"],
    ])
  })

  test("an observed series beyond the limit is left out", () => {
    const store = new MetricStore({ maxSeries: 1 })
    store.observe("gateway.plugin.state", { plugin: "a", state: "active" }, () => 1)
    const stop = store.observe("gateway.plugin.state", { plugin: "b", state: "active" }, () => 1)
    stop()
    expect(seriesOf(store, "gateway.plugin.state")).toEqual([["a", "active"]])
  })

  test("removing makes room again", () => {
    const store = new MetricStore({ maxSeries: 1 })
    store.counter("gateway.plugin.calls", { plugin: "a", ...SERVING })
    store.remove({ plugin: "a" })
    store.counter("gateway.plugin.calls", { plugin: "b", ...SERVING })
    expect(seriesOf(store, "gateway.plugin.calls")).toEqual([["b", "1.0.0", "stable"]])
  })
})

describe("label values", () => {
  test("they are cut, well-formed and without control characters", () => {
    const store = new MetricStore()
    store.counter("gateway.errors", { code: "x".repeat(500) })
    store.counter("gateway.errors", { code: "line\nfeed\u0000\u007f\u2028" })
    store.counter("gateway.errors", { code: "half \ud800 pair" })
    expect(seriesOf(store, "gateway.errors")).toEqual([
      ["x".repeat(128)],
      ["line\ufffdfeed\ufffd\ufffd\ufffd"],
      ["half \ufffd pair"],
    ])
  })

  test("a value that had to be cleaned finds its series again", () => {
    const store = new MetricStore()
    const value = `${"x".repeat(500)}\n`
    expect(store.counter("gateway.errors", { code: value })).toBe(
      store.counter("gateway.errors", { code: value }),
    )
  })

  test("no choice of values makes two series meet", () => {
    const store = new MetricStore()
    const one = store.counter("gateway.attempts", { provider: "a\u0000b", outcome: "c" })
    const two = store.counter("gateway.attempts", { provider: "a", outcome: "b\u0000c" })
    const three = store.counter("gateway.attempts", { provider: "a", outcome: "b" })
    expect(new Set([one, two, three]).size).toBe(3)
  })
})

describe("removing", () => {
  test("every series of a plugin goes, in all metrics, and nobody else's", () => {
    const store = new MetricStore()
    for (const plugin of ["gone", "stays"]) {
      store.counter("gateway.plugin.calls", { plugin, ...SERVING }).add()
      store.histogram("gateway.hook.duration", { plugin, hook: "onRequest", ...SERVING }).record(1)
      store.observe("gateway.plugin.state", { plugin, state: "active" }, () => 1)
    }
    store.counter("gateway.errors", { code: "gone" }).add()
    store.remove({ plugin: "gone" })
    expect(seriesOf(store, "gateway.plugin.calls")).toEqual([["stays", "1.0.0", "stable"]])
    expect(seriesOf(store, "gateway.hook.duration")).toEqual([["stays", "onRequest", "1.0.0", "stable"]])
    expect(seriesOf(store, "gateway.plugin.state")).toEqual([["stays", "active"]])
    expect(seriesOf(store, "gateway.errors")).toEqual([["gone"]])
  })

  test("several labels must all fit", () => {
    const store = new MetricStore()
    for (const version of ["1.0.0", "2.0.0"]) {
      store.gauge("gateway.plugin.info", { plugin: "a", version, type: "middleware" }).set(1)
    }
    store.gauge("gateway.plugin.state", { plugin: "a", state: "active" }).set(1)
    store.remove({ plugin: "a", version: "1.0.0" })
    expect(seriesOf(store, "gateway.plugin.info")).toEqual([["a", "2.0.0", "middleware"]])
    expect(seriesOf(store, "gateway.plugin.state")).toEqual([["a", "active"]])
  })

  test("no labels remove nothing", () => {
    const store = new MetricStore()
    store.gauge("gateway.streams.active", {}).set(1)
    store.remove({})
    expect(seriesOf(store, "gateway.streams.active")).toEqual([[]])
  })
})
