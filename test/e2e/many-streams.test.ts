/** A thousand streams at once through one gateway. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { join } from "node:path"
import { askPlain } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { residentBytes } from "../support/process.ts"
import { type LoadedStream, loadStreams } from "../support/stream-load.ts"
import { waitFor } from "../support/wait.ts"

const WHOLE = `${Array.from({ length: 11 }, (_, index) => `t${index} `).join("")}[DONE]`
const KIB = 1024

let upstream: Bun.Subprocess<"ignore", "pipe", "inherit">
let upstreamUrl: string
let gateway: RunningGateway

beforeAll(async () => {
  upstream = Bun.spawn([process.execPath, join(import.meta.dir, "../support/paced-upstream.ts")], {
    stdin: "ignore",
    stdout: "pipe",
  })
  upstreamUrl = await firstUrl(upstream.stdout)
  gateway = await startGateway({
    config: { providers: [{ name: "paced", base_url: `${upstreamUrl}/v1`, models: ["paced"] }] },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.kill("SIGKILL")
  await upstream?.exited
})

test("a thousand streams are open at once, none waits for another, and all end whole", async () => {
  // The first round is for the machine to get warm, and is not looked at.
  await measure(100)
  const few = await measure(100)
  const many = await measure(1000)

  expect(many.streams.map((stream) => stream.text).filter((text) => text !== WHOLE)).toEqual([])
  expect(many.mostOpenAtOnce).toBe(1000)
  expect(many.residentPerStreamBytes).toBeLessThan(256 * KIB)
  expect(await askPlain(gateway.url, "paced")).toBe("ready")

  for (const { count, firstToken, residentPerStreamBytes } of [few, many]) {
    const perStream = Math.round(residentPerStreamBytes / KIB)
    console.log(
      `${count} streams at once: first token p50 ${firstToken(0.5)} ms, p99 ${firstToken(0.99)} ms; ${perStream} KiB resident for each`,
    )
  }
}, 60_000)

async function measure(count: number) {
  await fetch(`${upstreamUrl}/reset`)
  const pid = gateway.servingPid()
  const residentBefore = residentBytes(pid)
  const load = loadStreams({ port: gateway.port, model: "paced", count, rampMs: count * 2 })
  await load.allStarted
  const residentPerStreamBytes = (residentBytes(pid) - residentBefore) / count
  const streams = await load.allEnded
  const { mostOpen } = await stats()
  await waitFor("the provider's streams to be over", async () => (await stats()).openStreams === 0)
  return {
    count,
    streams,
    mostOpenAtOnce: mostOpen,
    residentPerStreamBytes,
    firstToken: (share: number) => quantile(streams, share).toFixed(1),
  }
}

function quantile(streams: readonly LoadedStream[], share: number): number {
  const sorted = streams.map((stream) => stream.firstTokenMs).sort((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN
}

async function stats(): Promise<{ openStreams: number; mostOpen: number }> {
  return (await (await fetch(`${upstreamUrl}/stats`)).json()) as { openStreams: number; mostOpen: number }
}

async function firstUrl(output: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder()
  for await (const bytes of output) {
    const url = /http:\S+/.exec(decoder.decode(bytes))
    if (url !== null) return url[0]
  }
  throw new Error("the paced upstream did not start")
}
