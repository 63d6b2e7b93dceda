import { describe, expect, test } from "bun:test"
import { setUpPlugin } from "../test/plugin-context.ts"
import { waitFor } from "../test/support/wait.ts"
import memoryCache from "./memory-cache.ts"

const setUp = (config: Record<string, unknown> = {}) => setUpPlugin(memoryCache, { config })
const bytes = (length: number) => new Uint8Array(length).fill(1)

describe("entries", () => {
  test("are given back as they were kept, until they are deleted", async () => {
    const { abilities } = await setUp()
    const value = bytes(3)
    expect(await abilities.get("a")).toBeUndefined()
    await abilities.set("a", value, {})
    expect(await abilities.get("a")).toBe(value)
    expect(await abilities.delete("a")).toBe(true)
    expect(await abilities.delete("a")).toBe(false)
    expect(await abilities.get("a")).toBeUndefined()
  })

  test("are forgotten together", async () => {
    const { abilities } = await setUp()
    await abilities.set("a", bytes(3), {})
    await abilities.set("b", bytes(3), {})
    await abilities.clear()
    expect(await abilities.stats()).toMatchObject({ entries: 0, sizeBytes: 0 })
  })

  test("are counted", async () => {
    const { abilities } = await setUp()
    await abilities.get("a")
    await abilities.set("a", bytes(9), {})
    await abilities.get("a")
    await abilities.get("a")
    await abilities.set("b", bytes(9), {})
    await abilities.delete("b")
    expect(await abilities.stats()).toEqual({
      hits: 2,
      misses: 1,
      sets: 2,
      deletes: 1,
      evictions: 0,
      entries: 1,
      sizeBytes: 10,
    })
  })

  test("are answered without a promise", async () => {
    const { abilities } = await setUp()
    expect(abilities.get("a")).toBeUndefined()
  })

  test("go with their version of the plugin", async () => {
    const { abilities, dispose } = await setUp()
    await abilities.set("a", bytes(3), {})
    await dispose()
    expect(await abilities.stats()).toMatchObject({ entries: 0 })
  })
})

describe("limits", () => {
  test("the entry that was not used for longest makes room, and that is told", async () => {
    const { abilities, cacheEvents } = await setUp({ max_size: "250B" })
    await abilities.set("a", bytes(100), {})
    await abilities.set("b", bytes(100), {})
    await abilities.get("a")
    await abilities.set("c", bytes(100), {})
    expect(await abilities.get("b")).toBeUndefined()
    expect(await abilities.get("a")).toBeDefined()
    expect(cacheEvents).toEqual([{ eventType: "evict", key: "b", sizeBytes: 100 }])
    const { evictions, sizeBytes } = await abilities.stats()
    expect({ evictions, sizeBytes }).toEqual({ evictions: 1, sizeBytes: 202 })
  })

  test.each([{ max_entry: "50B" }, { max_size: "50B" }])(
    "with %j an entry that is too large is not kept, and takes the place of none",
    async (config) => {
      const { abilities } = await setUp(config)
      await abilities.set("small", bytes(10), {})
      await abilities.set("large", bytes(100), {})
      expect(await abilities.get("large")).toBeUndefined()
      expect(await abilities.get("small")).toBeDefined()
      expect(await abilities.stats()).toMatchObject({ sets: 1, entries: 1 })
    },
  )

  test("an entry lives for its time, and that it is gone is told", async () => {
    const { abilities, cacheEvents } = await setUp({ ttl: "20ms" })
    await abilities.set("a", bytes(3), {})
    await abilities.set("b", bytes(3), { ttlMs: 3_600_000 })
    await waitFor("the entry to expire", async () => (await abilities.get("a")) === undefined)
    expect(await abilities.get("b")).toBeDefined()
    expect(cacheEvents).toEqual([{ eventType: "evict", key: "a", sizeBytes: 3 }])
  })
})

describe("settings", () => {
  test.each([{ max_size: "0B" }, { max_entry: "0B" }, { ttl: "0s" }])("%j is refused", async (config) => {
    await expect(setUp(config)).rejects.toThrow('must be at least "1B" and "1ms"')
  })

  test.each([{ max_size: "much" }, { ttl: 5 }, { size: "1MB" }])("%j is refused by name", async (config) => {
    await expect(setUp(config)).rejects.toThrow("plugins.configs.memory-cache.config")
  })
})
