import { expect, test } from "bun:test"
import type { Clock } from "../../src/clock.ts"
import type { GatewayError } from "../../src/errors.ts"
import { AttemptDeadline } from "../../src/routing/deadline.ts"

/** A clock that stands still until it is moved, and then runs what is due, in order. */
function steppedClock() {
  let nowMs = 0
  const timers = new Set<{ readonly dueMs: number; readonly task: () => void }>()
  const clock: Clock = {
    now: () => nowMs,
    monotonic: () => nowMs,
    after(ms, task) {
      const timer = { dueMs: nowMs + ms, task }
      timers.add(timer)
      return () => void timers.delete(timer)
    },
    sleep: () => Promise.resolve(),
  }
  function advance(ms: number): void {
    const endMs = nowMs + ms
    for (;;) {
      const [next] = [...timers].filter(({ dueMs }) => dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)
      if (next === undefined) break
      timers.delete(next)
      nowMs = next.dueMs
      next.task()
    }
    nowMs = endMs
  }
  return { clock, advance }
}

function begin(awaits: "first_token" | "total") {
  const { clock, advance } = steppedClock()
  const cut: string[] = []
  const deadline = new AttemptDeadline({
    clock,
    startMs: 0,
    provider: "up",
    timeouts: { firstTokenMs: 100, betweenChunksMs: 50, totalMs: 1000 },
    awaits,
    abort: (reason: GatewayError) => cut.push(reason.message.replace(/^.*\(timeout\.|\)$/g, "")),
  })
  return { deadline, advance, cut }
}

test("a whole reply has the total time", () => {
  const { advance, cut } = begin("total")
  advance(990)
  expect(cut).toEqual([])
  advance(20)
  expect(cut).toEqual(["total"])
})

test("a stream has its first event in time or is cut", () => {
  const { advance, cut } = begin("first_token")
  advance(110)
  expect(cut).toEqual(["first_token"])
})

test("chunks that keep coming keep a stream alive, up to the total", () => {
  const { deadline, advance, cut } = begin("first_token")
  for (let count = 0; count < 24; count++) {
    advance(40)
    deadline.touch()
  }
  expect(cut).toEqual([])
  advance(100)
  expect(cut).toHaveLength(1)
})

test("silence between chunks cuts a stream", () => {
  const { deadline, advance, cut } = begin("first_token")
  deadline.touch()
  advance(60)
  expect(cut).toEqual(["between_chunks"])
})

test("while the client does not read, silence is not the provider's", () => {
  const { deadline, advance, cut } = begin("first_token")
  deadline.touch()
  deadline.pause()
  advance(500)
  expect(cut).toEqual([])
})

test("silence counts again as soon as the client reads on", () => {
  const { deadline, advance, cut } = begin("first_token")
  deadline.touch()
  deadline.pause()
  advance(120)
  deadline.resume()
  advance(40)
  expect(cut).toEqual([])
  advance(20)
  expect(cut).toEqual(["between_chunks"])
})
