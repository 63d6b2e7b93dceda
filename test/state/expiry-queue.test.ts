import { expect, test } from "bun:test"
import { ExpiryQueue } from "../../src/state/expiry-queue.ts"

interface Item {
  readonly expiresAtMs: number
}

function queueOf(times: readonly number[]): { queue: ExpiryQueue<Item>; current: Set<Item>; items: Item[] } {
  const items = times.map((expiresAtMs) => ({ expiresAtMs }))
  const current = new Set<Item>(items)
  const queue = new ExpiryQueue<Item>((item) => current.has(item))
  for (const item of items) queue.add(item)
  return { queue, current, items }
}

function takeAll(queue: ExpiryQueue<Item>, nowMs: number): number[] {
  const taken: number[] = []
  for (let item = queue.takeExpired(nowMs); item !== undefined; item = queue.takeExpired(nowMs)) {
    taken.push(item.expiresAtMs)
  }
  return taken
}

test("items come out by their time, those that have not expired stay", () => {
  const times = Array.from({ length: 500 }, (_, index) => (index * 7919) % 1009)
  const { queue } = queueOf(times)
  const sorted = [...times].sort((a, b) => a - b)
  expect(takeAll(queue, 400)).toEqual(sorted.filter((time) => time <= 400))
  expect(takeAll(queue, 2000)).toEqual(sorted.filter((time) => time > 400))
  expect(queue.takeExpired(2000)).toBeUndefined()
})

test("an item that is no longer current does not come out", () => {
  const { queue, current, items } = queueOf([1, 2, 3])
  current.delete(items[1] as Item)
  expect(takeAll(queue, 10)).toEqual([1, 3])
})

test("items that are no longer current do not pile up", () => {
  const { queue, current, items } = queueOf([])
  for (let index = 0; index < 10_000; index++) {
    const item = { expiresAtMs: 10_000 - index }
    queue.add(item)
    current.add(item)
    items.push(item)
    if (index >= 10) current.delete(items[index - 10] as Item)
  }
  expect(queue.length).toBeLessThan(100)
  expect(takeAll(queue, 20_000)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
})
