/**
 * The program of the watchdog thread; the binary has it as an entry point of its own. It can speak while the event
 * loop of the gateway stands still, but not through the logger, which belongs to that loop.
 */
import { writeSync } from "node:fs"
import { FIRST_SLOT, HEARTBEAT, INSIDE, type ThreadMessage, type WatchedName } from "./watchdog-board.ts"

const LOOK_EVERY_MS = 250
const STILL_AFTER_MS = 2000
const MAX_NAMED = 20

declare const self: Worker

const names = new Map<number, WatchedName>()
let board: Int32Array | undefined
let beat = 0
let turnedAtMs = 0
let lookedAtMs = 0
let isReported = false

self.onmessage = ({ data }: MessageEvent<ThreadMessage>) => {
  if ("slot" in data) names.set(data.slot, data)
  else {
    board = data.board
    turnedAtMs = performance.now()
  }
}
setInterval(() => look(performance.now()), LOOK_EVERY_MS)

function look(nowMs: number): void {
  if (board === undefined) return
  const current = Atomics.load(board, HEARTBEAT)
  // This thread did not run either: the machine slept, or somebody stopped the process.
  const wasStopped = nowMs - lookedAtMs > 4 * LOOK_EVERY_MS
  lookedAtMs = nowMs
  if (current !== beat || wasStopped) {
    beat = current
    turnedAtMs = nowMs
    isReported = false
  } else if (!isReported && nowMs - turnedAtMs >= STILL_AFTER_MS) {
    isReported = true
    report(board, nowMs - turnedAtMs)
  }
}

function report(slots: Int32Array, stillMs: number): void {
  const inside = names.get(Atomics.load(slots, INSIDE))
  const waiting = [...names.values()].filter(
    ({ slot }) => slot >= FIRST_SLOT && Atomics.load(slots, slot) > 0,
  )
  const who =
    inside !== undefined
      ? { plugin: inside.plugin, hook: inside.hook }
      : { oneOf: waiting.slice(0, MAX_NAMED).map(({ plugin, hook }) => `${plugin} ${hook}`) }
  const line = {
    level: "error",
    time: new Date().toISOString(),
    message: inside === undefined ? "the event loop stands still" : "a plugin keeps the event loop",
    ...who,
    stillMs: Math.round(stillMs),
  }
  writeSync(2, `${JSON.stringify(line)}\n`)
}
