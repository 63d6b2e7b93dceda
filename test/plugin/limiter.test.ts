import { expect, test } from "bun:test"
import { createLimiter } from "../../src/plugin/limiter.ts"

test("no more tasks than allowed run at a time, in the order in which they came", async () => {
  const limited = createLimiter(2)
  const gates = Array.from({ length: 4 }, () => Promise.withResolvers<void>())
  const started: number[] = []
  const tasks = gates.map((gate, index) =>
    limited(async () => {
      started.push(index)
      await gate.promise
    }),
  )
  await Bun.sleep(0)
  expect(started).toEqual([0, 1])
  gates[1]?.resolve()
  await tasks[1]
  await Bun.sleep(0)
  expect(started).toEqual([0, 1, 2])
  for (const gate of gates) gate.resolve()
  await Promise.all(tasks)
  expect(started).toEqual([0, 1, 2, 3])
})

test("a task that fails gives its turn on", async () => {
  const limited = createLimiter(1)
  const failing = limited(async () => {
    throw new Error("broken")
  })
  const next = limited(async () => "fine")
  await expect(failing).rejects.toThrow("broken")
  expect(await next).toBe("fine")
})

test("a task never starts before its caller has the promise", () => {
  let isStarted = false
  void createLimiter(1)(async () => {
    isStarted = true
  })
  expect(isStarted).toBe(false)
})
