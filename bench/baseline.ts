/**
 * What does a request cost in the gateway, against a bare `Bun.serve` that parses the same JSON and forwards
 * it with `fetch`? CPU time of the serving process alone, by /proc; wall time and latency say too much about the
 * machine. Rounds of all sides alternate, so that a busy neighbour hits all of them.
 *
 *   bun bench/baseline.ts [--rounds 5] [--seconds 3] [--hooks 10] [--against ../another-checkout]
 *
 * With `--hooks`, a gateway with as many plugins stands beside it, each with an `onRequest` hook that does nothing. With
 * `--against`, the same gateways of another checkout do, to see what a change costs.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { completion, streamedAnswer } from "../test/support/completions.ts"
import { cpuMicroseconds, peakResidentBytes } from "../test/support/process.ts"
import { waitFor } from "../test/support/wait.ts"

interface Side {
  readonly name: string
  readonly url: string
  readonly pid: number
}

interface Prompt {
  readonly name: string
  readonly bytes: number
  readonly text: string
  readonly stream?: boolean
}

interface Load {
  readonly url: string
  readonly bodyFile: string
  readonly directory: string
  readonly seconds: number
}

const CONNECTIONS = 32
/** One without anything to escape is what JSON.parse is quickest with; most prompts have line breaks and quotes. */
const PROSE = "lorem ipsum "
const CODE = 'if (name === "x") {\n  return { "answer": 42 }\n}\n'
const PROMPTS = [
  { name: "0.5 KB prose", bytes: 500, text: PROSE },
  { name: "50 KB prose", bytes: 50_000, text: PROSE },
  { name: "50 KB code", bytes: 50_000, text: CODE },
  { name: "0.5 KB prose, streamed", bytes: 500, text: PROSE, stream: true },
] as const satisfies readonly Prompt[]
const REPLY_BYTES = 1_000
const REPLY_EVENTS = 50
const SELF = resolve(import.meta.path)
const HERE = resolve(import.meta.dir, "..")
/** Without it Bun lets 256 requests to providers through; the supervisor sets it, and here there is none. */
const MANY_UPSTREAM_REQUESTS = { BUN_CONFIG_MAX_HTTP_REQUESTS: "65535" }

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    hooks: { type: "string", default: "0" },
    against: { type: "string" },
  },
})
const [role, upstreamUrl = ""] = positionals
if (role === "upstream") serveUpstream()
else if (role === "bare") serveBare(upstreamUrl)
else await compare(Number(values.rounds), Number(values.seconds))

async function compare(rounds: number, seconds: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "leapgate-bench-"))
  const processes: Bun.Subprocess[] = []
  try {
    const upstream = await start("upstream", [SELF, "upstream"])
    const sides = [await start("bare", [SELF, "bare", upstream.url])]
    for (const { name, checkout, hooks } of gateways()) {
      const configFile = join(directory, name, "config.yaml")
      await writePlugins(join(directory, name, "plugins"), hooks)
      await writeFile(configFile, JSON.stringify(gatewayConfig(upstream.url)))
      const main = join(checkout, "src/main.ts")
      sides.push(await start(name, [main, "serve", "--no-supervisor", "--config", configFile]))
    }
    for (const prompt of PROMPTS) {
      const bodyFile = join(directory, "body.json")
      await writeFile(bodyFile, requestBody(prompt))
      const load = { bodyFile, directory, seconds }
      // The first seconds are the compiler's.
      for (const side of sides) await costOf(side, { ...load, seconds: 3 })
      const costs = new Map(sides.map((side) => [side, [] as number[]]))
      for (let round = 0; round < rounds; round++) {
        for (const [side, samples] of costs) samples.push(await costOf(side, load))
      }
      report(
        prompt,
        [...costs].map(([{ name }, samples]) => ({ name, samples })),
      )
    }
    for (const side of sides) {
      console.log(
        `peak resident memory, ${side.name}: ${(peakResidentBytes(side.pid) / 2 ** 20).toFixed(0)} MiB`,
      )
    }
  } finally {
    for (const child of processes) child.kill("SIGKILL")
    await rm(directory, { recursive: true, force: true })
  }

  async function start(name: string, args: readonly string[]): Promise<Side> {
    const output = Bun.file(join(directory, `${name}.out`))
    const log = Bun.file(join(directory, `${name}.log`))
    const child = Bun.spawn([process.execPath, ...args], {
      cwd: directory,
      env: { ...process.env, ...MANY_UPSTREAM_REQUESTS },
      stdio: ["ignore", output, log],
    })
    processes.push(child)
    const url = await waitFor(`${name} to start`, async () => {
      if (child.exitCode !== null) throw new Error(`${name} did not start:\n${await log.text()}`)
      return /http:\/\/127\.0\.0\.1:\d+/.exec(await output.text())?.[0]
    })
    return { name, url, pid: child.pid }
  }
}

/** CPU µs of the side's process for one request. */
async function costOf(side: Side, load: Omit<Load, "url">): Promise<number> {
  const before = cpuMicroseconds(side.pid)
  const requests = await send({ ...load, url: `${side.url}/v1/chat/completions` })
  return (cpuMicroseconds(side.pid) - before) / requests
}

/** Sends requests for some seconds. @returns how many were answered with 200 */
async function send(load: Load): Promise<number> {
  return Bun.which("wrk") === null ? await sendWithFetch(load) : await sendWithWrk(load)
}

async function sendWithWrk({ url, bodyFile, directory, seconds }: Load): Promise<number> {
  const script = join(directory, "post.lua")
  await writeFile(
    script,
    `wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local file = io.open("${bodyFile}", "rb")
wrk.body = file:read("*a")
file:close()`,
  )
  const args = ["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "-s", script, url]
  const { stdout } = Bun.spawnSync(["wrk", ...args])
  const text = stdout.toString()
  const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0)
  if (requests === 0 || /Non-2xx|Socket errors/.test(text)) throw new Error(`requests failed:\n${text}`)
  return requests
}

async function sendWithFetch({ url, bodyFile, seconds }: Load): Promise<number> {
  const body = await Bun.file(bodyFile).text()
  const deadline = performance.now() + seconds * 1000
  let requests = 0
  const callers = Array.from({ length: CONNECTIONS }, async () => {
    while (performance.now() < deadline) {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      })
      if (response.status !== 200) throw new Error(`a request failed: ${response.status}`)
      await response.arrayBuffer()
      requests++
    }
  })
  await Promise.all(callers)
  return requests
}

interface Costs {
  readonly name: string
  readonly samples: readonly number[]
}

/** Each side against the first one, round by round. */
function report(prompt: Prompt, costs: readonly Costs[]): void {
  const bare = costs[0]?.samples ?? []
  console.table(
    costs.map(({ name, samples }) => {
      const ratios = samples.map((cost, round) => cost / (bare[round] ?? Number.NaN))
      return {
        prompt: prompt.name,
        side: name,
        µs: median(samples).toFixed(1),
        "/ bare": median(ratios).toFixed(2),
        spread: `${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}`,
        rounds: ratios.length,
      }
    }),
  )
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function requestBody({ bytes, text, stream = false }: Prompt): string {
  return JSON.stringify({
    model: "bench",
    messages: [{ role: "user", content: text.repeat(Math.ceil(bytes / text.length)) }],
    temperature: 0.5,
    stream,
  })
}

function gateways() {
  const { against } = values
  const hooks = Number(values.hooks)
  const checkouts = [
    { name: "gateway", checkout: HERE },
    ...(against === undefined ? [] : [{ name: "other checkout", checkout: resolve(against) }]),
  ]
  return checkouts.flatMap(({ name, checkout }) => [
    { name, checkout, hooks: 0 },
    ...(hooks === 0 ? [] : [{ name: `${name}, ${hooks} hooks`, checkout, hooks }]),
  ])
}

async function writePlugins(directory: string, count: number): Promise<void> {
  await mkdir(directory, { recursive: true })
  for (let number = 1; number <= count; number++) {
    await writeFile(
      join(directory, `bench-${number}.ts`),
      `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "bench-${number}",
  version: "1.0.0",
  type: "monitoring",
  setup: () => ({ hooks: { onRequest() {} } }),
})
`,
    )
  }
}

function gatewayConfig(url: string) {
  return {
    server: { host: "127.0.0.1", port: 0 },
    providers: [{ name: "bench", base_url: `${url}/v1`, models: ["bench"] }],
  }
}

function serveUpstream(): void {
  const plain = JSON.stringify(completion("bench", "x".repeat(REPLY_BYTES - 250)))
  const words = Array.from({ length: REPLY_EVENTS }, (_, number) => `word ${number} `)
  const events = streamedAnswer("bench", words).map((event) => new TextEncoder().encode(event))
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const { stream } = (await request.json()) as { stream?: unknown }
      if (stream !== true) return new Response(plain, { headers: { "content-type": "application/json" } })
      return new Response(inTurns(events), {
        headers: { "content-type": "text/event-stream" },
      })
    },
  })
  console.log(`upstream on http://127.0.0.1:${server.port}`)
}

/** Events as they come over a network: a few at a time. */
async function* inTurns(events: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const [index, event] of events.entries()) {
    if (index % 5 === 0) await new Promise(setImmediate)
    yield event
  }
}

/** The least that a gateway in JavaScript has to do: read, parse, forward, read, answer. */
function serveBare(url: string): void {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const body = await request.text()
      const { model, stream } = JSON.parse(body) as { model?: unknown; stream?: unknown }
      if (typeof model !== "string") return new Response("no model", { status: 400 })
      const reply = await fetch(`${url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
        signal: request.signal,
      })
      if (stream === true) {
        return new Response(reply.body, { headers: { "content-type": "text/event-stream" } })
      }
      return new Response(await reply.text(), {
        status: reply.status,
        headers: { "content-type": "application/json" },
      })
    },
  })
  console.log(`bare on http://127.0.0.1:${server.port}`)
}
