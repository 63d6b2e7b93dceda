import { afterEach, expect, setSystemTime, test } from "bun:test"
import { testPlugin } from "leapgate/testing"
import plugin from "./cache.ts"

const value = new TextEncoder().encode("a reply")

afterEach(() => {
  setSystemTime()
})

test("what was kept comes back until its time is over", async () => {
  await using app = await testPlugin(plugin)
  const { get, set } = app.abilities
  await set("key", value, { ttlMs: 1000 })
  expect(await get("key")).toEqual(value)
  setSystemTime(Date.now() + 1001)
  expect(await get("key")).toBeUndefined()
})

test("the one that was not asked for longest makes room", async () => {
  await using app = await testPlugin(plugin, { config: { entries: 2 } })
  const { get, set, stats } = app.abilities
  await set("a", value, {})
  await set("b", value, {})
  await get("a")
  await set("c", value, {})
  expect([await get("a"), await get("b"), await get("c")]).toEqual([value, undefined, value])
  expect(await stats()).toMatchObject({ entries: 2, sizeBytes: 14, evictions: 1, hits: 3, misses: 1 })
})
