import { describe, expect, expectTypeOf, test } from "bun:test"
import fc from "fast-check"
import { GatewayError } from "../../src/errors.ts"
import type { PluginStore } from "../../src/plugin/contract.ts"
import { createMemoryStore, type MemoryStore, type StateStore } from "../../src/state/store.ts"
import { type ManualClock, manualClock } from "./manual-clock.ts"

const START_MS = 1_000_000

function storeWithClock(maxEntries?: number): { store: MemoryStore; clock: ManualClock } {
  const clock = manualClock(START_MS)
  return { clock, store: createMemoryStore({ clock, ...(maxEntries === undefined ? {} : { maxEntries }) }) }
}

test("a state store is a plugin's store", () => {
  expectTypeOf<StateStore>().toExtend<PluginStore>()
  expectTypeOf<MemoryStore>().toExtend<PluginStore>()
})

describe("values", () => {
  test("what was set is read back, at once and not as a promise", () => {
    const { store } = storeWithClock()
    store.set("greeting", "hello")
    expect(store.get("greeting")).toBe("hello")
  })

  test("a key that was never set is undefined", () => {
    expect(storeWithClock().store.get("nothing")).toBeUndefined()
  })

  test("deleting says whether there was something", () => {
    const { store } = storeWithClock()
    store.set("a", 1)
    expect(store.delete("a")).toBe(true)
    expect(store.delete("a")).toBe(false)
    expect(store.get("a")).toBeUndefined()
  })

  test("a value lives until its time is over, and not a millisecond longer", () => {
    const { store, clock } = storeWithClock()
    store.set("a", 1, { ttlMs: 100 })
    clock.advance(99)
    expect(store.get("a")).toBe(1)
    clock.advance(1)
    expect(store.get("a")).toBeUndefined()
    expect(store.delete("a")).toBe(false)
  })

  test("setting a value again renews its time, or takes it away", () => {
    const { store, clock } = storeWithClock()
    store.set("renewed", 1, { ttlMs: 100 })
    store.set("kept", 1, { ttlMs: 100 })
    clock.advance(60)
    store.set("renewed", 2, { ttlMs: 100 })
    store.set("kept", 2)
    clock.advance(60)
    expect(store.get("renewed")).toBe(2)
    expect(store.get("kept")).toBe(2)
  })

  test("what the owner of an object does to it later does not reach the store", () => {
    const { store } = storeWithClock()
    const list = ["a"]
    store.set("list", list)
    list.push("b")
    const read = store.get("list") as string[]
    read.push("c")
    expect(store.get("list")).toEqual(["a"])
  })

  test("a value that is not plain data is refused by name", () => {
    const { store } = storeWithClock()
    expect(() => store.set("callback", { run() {} })).toThrow('state key "callback" can hold plain data only')
    expect(() => store.set("callback", () => {})).toThrow(GatewayError)
  })

  test("a time to live that is no time is refused", () => {
    const { store } = storeWithClock()
    for (const ttlMs of [0, -1, Number.NaN]) {
      expect(() => store.set("a", 1, { ttlMs })).toThrow("give a ttlMs above 0")
      expect(() => store.increment("b", { ttlMs })).toThrow("give a ttlMs above 0")
    }
    expect(store.get("a")).toBeUndefined()
    expect(store.get("b")).toBeUndefined()
  })

  test("names that objects know are ordinary keys", () => {
    const { store } = storeWithClock()
    for (const key of ["__proto__", "constructor", "toString", ""]) {
      expect(store.get(key)).toBeUndefined()
      expect(store.increment(key).value).toBe(1)
    }
  })
})

describe("counters", () => {
  test("a counter starts at 0 and never expires unless told to", () => {
    const { store } = storeWithClock()
    expect(store.increment("a")).toEqual({ value: 1, expiresAtMs: Number.POSITIVE_INFINITY })
    expect(store.increment("a", { by: 5 }).value).toBe(6)
    expect(store.increment("a", { by: -2 }).value).toBe(4)
    expect(store.get("a")).toBe(4)
  })

  test("a window is fixed: it runs from the first count and later ones do not stretch it", () => {
    const { store, clock } = storeWithClock()
    const ttlMs = 1000
    expect(store.increment("a", { ttlMs })).toEqual({ value: 1, expiresAtMs: START_MS + 1000 })
    clock.advance(999)
    expect(store.increment("a", { ttlMs })).toEqual({ value: 2, expiresAtMs: START_MS + 1000 })
    clock.advance(1)
    expect(store.increment("a", { ttlMs })).toEqual({ value: 1, expiresAtMs: START_MS + 2000 })
  })

  test("a value that is no number is not counted up", () => {
    const { store } = storeWithClock()
    store.set("a", "text")
    expect(() => store.increment("a")).toThrow('state key "a" holds no number')
    expect(store.get("a")).toBe("text")
  })

  test("an amount that is no number would spoil the counter, so it is refused", () => {
    const { store } = storeWithClock()
    store.increment("a")
    expect(() => store.increment("a", { by: Number.NaN })).toThrow("cannot grow by NaN")
    expect(store.get("a")).toBe(1)
  })
})

describe("namespaces", () => {
  test("the same prefix sees the same entries, another one and the parent do not", () => {
    const { store } = storeWithClock()
    store.namespace("a").set("key", 1)
    expect(store.namespace("a").get("key")).toBe(1)
    expect(store.namespace("b").get("key")).toBeUndefined()
    expect(store.get("key")).toBeUndefined()
  })

  test("no choice of prefixes and keys makes two namespaces meet", () => {
    const { store } = storeWithClock()
    store.namespace("a").namespace("b").set("c", 1)
    store.namespace("a:b").set("c", 2)
    store.namespace("a").set("b:c", 3)
    expect(store.namespace("a").namespace("b").get("c")).toBe(1)
    expect(store.namespace("a:b").get("c")).toBe(2)
    expect(store.namespace("a").get("b:c")).toBe(3)
  })

  test("a namespace with many keys pushes out its own, not another's", () => {
    const { store } = storeWithClock(10)
    store.namespace("quiet").set("key", "still here")
    for (let index = 0; index < 100; index++) store.namespace("loud").set(`key-${index}`, index)
    expect(store.namespace("quiet").get("key")).toBe("still here")
    expect(store.namespace("loud").size).toBe(10)
  })

  test("closing lets go of everything", () => {
    const { store } = storeWithClock()
    const inner = store.namespace("a")
    inner.set("key", 1)
    store.set("key", 1)
    store.close()
    expect(store.get("key")).toBeUndefined()
    expect(inner.get("key")).toBeUndefined()
  })
})

describe("limits", () => {
  test("a full store throws out the oldest", () => {
    const { store } = storeWithClock(2)
    store.set("first", 1)
    store.set("second", 2)
    store.set("third", 3)
    expect(store.get("first")).toBeUndefined()
    expect([store.get("second"), store.get("third")]).toEqual([2, 3])
    expect(store.evictions).toBe(1)
  })

  test("what has expired makes room before anything that lives", () => {
    const { store, clock } = storeWithClock(3)
    store.set("oldest", 1)
    store.set("brief", 2, { ttlMs: 10 })
    store.set("briefer", 3, { ttlMs: 5 })
    clock.advance(10)
    store.set("new", 4)
    store.set("newer", 5)
    expect(store.get("oldest")).toBe(1)
    expect(store.evictions).toBe(0)
  })

  test("setting a key again needs no room", () => {
    const { store } = storeWithClock(2)
    store.set("a", 1)
    store.set("b", 2)
    store.set("b", 3)
    expect(store.get("a")).toBe(1)
    expect(store.evictions).toBe(0)
  })

  test("a counter in use outlives a flood of new keys", () => {
    const { store } = storeWithClock(100)
    for (let index = 0; index < 10_000; index++) {
      store.increment("in use", { ttlMs: 60_000 })
      store.increment(`stranger-${index}`, { ttlMs: 60_000 })
    }
    expect(store.get("in use")).toBe(10_000)
    expect(store.size).toBe(100)
  })

  test("where every key is in use, the oldest goes all the same", () => {
    const { store } = storeWithClock(3)
    for (const key of ["a", "b", "c", "a", "b", "c"]) store.increment(key)
    store.increment("d")
    expect(["a", "b", "c", "d"].map((key) => store.get(key))).toEqual([undefined, 2, 2, 1])
  })

  test("expired entries leave as new ones come, without a full store or a timer", () => {
    const { store, clock } = storeWithClock()
    for (let index = 0; index < 1000; index++) store.increment(`old-${index}`, { ttlMs: 100 })
    clock.advance(100)
    for (let index = 0; index < 500; index++) store.increment(`new-${index}`, { ttlMs: 100 })
    expect(store.size).toBe(500)
    expect(store.evictions).toBe(0)
  })

  test("the store agrees with a plain model, whatever is done to it", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        // Fewer keys than there is room for: nothing may ever be thrown out.
        const { store, clock } = storeWithClock(4)
        const model = new Map<string, { value: number; expiresAtMs: number }>()
        for (const { action, key, ttlMs, waitMs } of steps) {
          clock.advance(waitMs)
          const known = model.get(key)
          const live = known !== undefined && known.expiresAtMs > clock.now() ? known : undefined
          if (action === "increment") {
            const expiresAtMs = live?.expiresAtMs ?? clock.now() + ttlMs
            const value = (live?.value ?? 0) + 1
            model.set(key, { value, expiresAtMs })
            expect(store.increment(key, { ttlMs })).toEqual({ value, expiresAtMs })
          } else if (action === "set") {
            model.set(key, { value: ttlMs, expiresAtMs: clock.now() + ttlMs })
            store.set(key, ttlMs, { ttlMs })
          } else if (action === "delete") {
            model.delete(key)
            expect(store.delete(key)).toBe(live !== undefined)
          } else {
            expect(store.get(key)).toBe(live?.value)
          }
        }
        expect(store.evictions).toBe(0)
      }),
    )
  })
})

const step = fc.record({
  action: fc.constantFrom("increment", "set", "delete", "get"),
  key: fc.constantFrom("a", "b", "c", "d"),
  ttlMs: fc.integer({ min: 1, max: 20 }),
  waitMs: fc.integer({ min: 0, max: 5 }),
})
