import { expect, test } from "bun:test"
import { inOrder, loadOrder, type Ordered } from "../../src/plugin/order.ts"

const plugin = (name: string, needs: readonly string[] = [], loadAfter: readonly string[] = []): Ordered => ({
  name,
  dependencies: Object.fromEntries(needs.map((needed) => [needed, "*"])),
  loadAfter,
})

test("a plugin waits for the plugins it depends on, and for those it wants to follow", () => {
  const { waitsFor } = loadOrder([plugin("c", ["a"], ["b"]), plugin("a"), plugin("b")])
  expect(waitsFor.get("c")).toEqual(["a", "b"])
  expect(waitsFor.get("a")).toEqual([])
})

test("plugins that are not there are not waited for", () => {
  const { waitsFor } = loadOrder([plugin("a", ["missing"], ["absent"])])
  expect(waitsFor.get("a")).toEqual([])
})

test("a circle is named whole, for each of its members and nobody else", () => {
  const { cycles, waitsFor } = loadOrder([
    plugin("outside", ["a"]),
    plugin("a", ["b"]),
    plugin("b", ["c"]),
    plugin("c", ["a"]),
    plugin("free"),
  ])
  expect([...cycles.keys()].sort()).toEqual(["a", "b", "c"])
  expect(cycles.get("b")?.message).toBe(
    "plugins depend on each other: a → b → c → a; remove one of these dependencies",
  )
  expect([...waitsFor.keys()].sort()).toEqual(["free", "outside"])
})

test("every circle is found", () => {
  const { cycles } = loadOrder([
    plugin("a", ["b"]),
    plugin("b", ["a"]),
    plugin("c", ["d"]),
    plugin("d", ["c"]),
    plugin("e", ["e"]),
  ])
  expect([...cycles.keys()].sort()).toEqual(["a", "b", "c", "d", "e"])
  expect(cycles.get("e")?.message).toContain("e → e")
})

test("plugins that want to follow each other are loaded all the same", () => {
  const { cycles, waitsFor } = loadOrder([plugin("a", [], ["b"]), plugin("b", [], ["a"])])
  expect(cycles.size).toBe(0)
  expect(waitsFor.get("a")).toEqual(["b"])
  expect(waitsFor.get("b")).toEqual([])
})

const after = (edges: Readonly<Record<string, readonly string[]>>) => (item: string) => edges[item] ?? []

test("tasks run after those they wait for, independent ones side by side", async () => {
  const log: string[] = []
  const gate = Promise.withResolvers<void>()
  const done = inOrder(["late", "early", "free"], after({ late: ["early"] }), async (item) => {
    log.push(`${item} starts`)
    if (item === "early") await gate.promise
    log.push(`${item} ends`)
  })
  while (!log.includes("free ends")) await Promise.resolve()
  expect(log).toEqual(["early starts", "free starts", "free ends"])
  gate.resolve()
  await done
  expect(log.slice(3)).toEqual(["early ends", "late starts", "late ends"])
})

test("a task that fails stops no other, and its error is told at the end", async () => {
  const log: string[] = []
  const done = inOrder(["b", "a"], after({ b: ["a"] }), async (item) => {
    log.push(item)
    if (item === "a") throw new Error("a failed")
  })
  await expect(done).rejects.toThrow("a failed")
  expect(log).toEqual(["a", "b"])
})

test("items that wait for each other all run", async () => {
  const log: string[] = []
  const edges = after({ a: ["b"], b: ["c", "a"], c: ["a", "d"], d: ["c"] })
  await inOrder(["a", "b", "c", "d"], edges, async (item) => void log.push(item))
  expect(log.sort()).toEqual(["a", "b", "c", "d"])
})
