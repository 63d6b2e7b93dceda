import { expect, test } from "bun:test"
import { join } from "node:path"
import type { LoopReport } from "../support/reload-loop.ts"

async function runLoop(reloads: number, mode: "probation" | "none"): Promise<LoopReport> {
  const script = join(import.meta.dir, "../support/reload-loop.ts")
  const child = Bun.spawn([process.execPath, script, String(reloads), mode], {
    stdio: ["ignore", "pipe", "pipe"],
  })
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  if (child.exitCode !== 0) throw new Error(`the loop ended with ${child.exitCode}: ${err}`)
  return JSON.parse(out)
}

const LIMIT_MB = 15

test("1,000 reloads of a plugin of 50 KB with a timer and a server leave its last version, and no memory", async () => {
  const growths: number[] = []
  // Resident memory has its own noise on a busy machine; a leak is there every time.
  while (growths.length < 3 && !growths.some((growth) => growth < LIMIT_MB)) {
    const { version, growthMb, ticking, listening } = await runLoop(1000, "none")
    expect({ version, ticking, listening }).toEqual({
      version: "1.0.1100",
      ticking: [1100],
      listening: [1100],
    })
    growths.push(growthMb)
  }
  console.log(`1,000 reloads: resident memory grew by ${growths.map((mb) => mb.toFixed(1)).join(", ")} MB`)
  expect(Math.min(...growths)).toBeLessThan(LIMIT_MB)
}, 120_000)

test("200 reloads on probation leave the last version and the last good one", async () => {
  const { version, ticking, listening } = await runLoop(200, "probation")
  expect({ version, ticking, listening }).toEqual({
    version: "1.0.300",
    ticking: [0, 300],
    listening: [0, 300],
  })
}, 60_000)
