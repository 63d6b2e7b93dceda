import { expect, test } from "bun:test"
import fc from "fast-check"
import { BoundedQueue } from "../../src/plugin/bounded-queue.ts"

test("it gives what came first, and drops the oldest above its limit, whatever comes in which order", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.array(fc.oneof(fc.constant("push" as const), fc.integer({ min: 0, max: 5 })), { maxLength: 200 }),
      (limit, steps) => {
        const queue = new BoundedQueue<number>(limit)
        let model: number[] = []
        let next = 0
        for (const step of steps) {
          if (step === "push") {
            const dropped = model.length === limit ? 1 : 0
            model = [...model.slice(dropped), ++next]
            expect(queue.push(next)).toBe(dropped)
          } else {
            expect(queue.take(step)).toEqual(model.slice(0, step))
            model = model.slice(step)
          }
          expect(queue.size).toBe(model.length)
        }
      },
    ),
  )
})
