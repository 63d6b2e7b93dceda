/** Monitoring plugins on live traffic: what they are told, and what they add to /metrics. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"
import { parseExposition } from "../telemetry/exposition-parser.ts"

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["a secret answer"]))
  gateway = await startGateway({
    config: {
      providers: [{ name: "up", base_url: upstream.url, models: ["good"] }],
      auth: { keys: [{ name: "ci", key: "lg-a-secret-key" }] },
      plugins: { configs: { "export-hangs": { timeout: "100ms" } } },
    },
    plugins: {
      "watcher.ts": WATCHER,
      "emitter.ts": EMITTER,
      "export-good.ts": exporter("export-good", GOOD),
      "export-late.ts": exporter(
        "export-late",
        `# TYPE jobs_done gauge\njobs_done 7\n${gauge("queue_length", 3)}`,
      ),
      "export-ours.ts": exporter("export-ours", `leapgate_streams_active 1\n${gauge("ours_own", 1)}`),
      "export-rubbish.ts": exporter("export-rubbish", "fine 1\nwhat is this\n"),
      "export-number.ts": exporter("export-number", 42),
      "export-throws.ts": exporter("export-throws", null),
      "export-hangs.ts": exporter("export-hangs", undefined),
    },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

interface Told {
  readonly told: "recordMetric" | "recordEvent" | "startTrace"
  readonly name: string
  readonly attributes?: Readonly<Record<string, unknown>>
  readonly [field: string]: unknown
}

function told(): readonly Told[] {
  return gateway
    .logs()
    .split("\n")
    .filter((line) => line.includes('"told":'))
    .map((line) => JSON.parse(line) as Told)
}

function ask(model: string, requestId: string, stream = false): Promise<Response> {
  return postChat(gateway.url, {
    model,
    stream,
    prompt: "a secret question",
    headers: { authorization: "Bearer lg-a-secret-key", "x-request-id": requestId },
  })
}

async function toldOf(requestId: string, names: readonly string[]): Promise<readonly Told[]> {
  return waitFor(`${names} of ${requestId}`, () => {
    const ofRequest = told().filter(
      ({ attributes, ...trace }) => (attributes ?? trace).requestId === requestId,
    )
    return names.every((name) => ofRequest.some((one) => one.name === name)) && ofRequest
  })
}

describe("a monitoring plugin is told of", () => {
  test("a request's beginning and its answer", async () => {
    await (await ask("good", "plain")).text()
    const both = await toldOf("plain", ["POST /v1/chat/completions", "onResponse"])
    const start = both.find(({ told }) => told === "startTrace")
    const answered = both.find(({ told }) => told === "recordEvent")
    expect(start).toMatchObject({ told: "startTrace", traceId: expect.stringMatching(/^[0-9a-f]{32}$/) })
    expect(Math.abs(Number(start?.startTime) - Date.now())).toBeLessThan(60_000)
    expect(answered).toMatchObject({
      told: "recordEvent",
      attributes: {
        traceId: start?.traceId,
        model: "good",
        provider: "up",
        principal: "ci",
        responseStatus: 200,
        usage: { total_tokens: 7 },
        cacheHit: false,
      },
    })
  })

  test("a stream's end", async () => {
    await (await ask("good", "streamed", true)).text()
    const events = await toldOf("streamed", ["onStreamEnd", "onResponse"])
    expect(events.find(({ name }) => name === "onStreamEnd")?.attributes).toMatchObject({
      outcome: "complete",
    })
  })

  test("a failure, by code and message", async () => {
    await ask("not there", "failed")
    const events = await toldOf("failed", ["onError"])
    expect(events.find(({ name }) => name === "onError")?.attributes).toMatchObject({
      error: { code: "model_not_found", message: expect.stringContaining("not there") },
      errorType: "invalid_input",
    })
  })

  test("plugins that come and go, cache events and metrics of plugins", async () => {
    await gateway.writePlugin("new.ts", exporter("new", ""))
    await waitFor("the plugin", () =>
      told().some(({ name, attributes }) => name === "onPluginLoad" && attributes?.plugin === "new"),
    )
    await ask("good", "emits")
    await waitFor("the cache event", () =>
      told().some(({ name, attributes }) => name === "onCacheEvent" && attributes?.plugin === "emitter"),
    )
    const metric = await waitFor("the metric", () => told().find(({ name }) => name === "emitter.calls"))
    expect(metric).toMatchObject({ told: "recordMetric", value: 1, type: "counter", tags: { a: "b" } })
  })

  test("nothing that anybody said, and no key", () => {
    const all = JSON.stringify(told())
    expect(all.length).toBeGreaterThan(1000)
    expect(all).not.toContain("secret")
  })
})

describe("/metrics", () => {
  const scrape = async (accept: string) =>
    (await fetch(`${gateway.url}/metrics`, { headers: { accept } })).text()

  test.each(["text", "openmetrics"] as const)(
    "has what plugins export, and stays valid as %s",
    async (format) => {
      const accept = format === "text" ? "text/plain" : "application/openmetrics-text"
      const families = parseExposition(await scrape(accept), format)
      expect(families.get(format === "text" ? "jobs_done_total" : "jobs_done")).toMatchObject({
        type: "counter",
        help: "Jobs that were done",
        samples: [{ labels: { kind: "a" }, value: 3 }],
      })
      expect(families.get("job_seconds")).toMatchObject({ type: "histogram" })
      expect(families.get("leapgate_streams_active")?.samples).toHaveLength(1)
    },
  )

  test("leaves out what collides or cannot be read, and says so at the plugin, with the line", async () => {
    const text = await scrape("text/plain")
    expect(text).toContain("ours_own 1\n")
    expect(text).toContain("queue_length 3\n")
    expect(text).not.toContain("jobs_done 7")
    expect(text).not.toContain("fine 1")
    const errorOf = async (name: string) => {
      const info = await (await fetch(`${gateway.adminUrl}/plugins/${name}`)).json()
      return (info as { metrics: { last_error: { message: string } | null } }).metrics.last_error?.message
    }
    expect(await errorOf("export-good")).toBeUndefined()
    expect(await errorOf("export-late")).toContain("monitoring.export: ")
    expect(await errorOf("export-late")).toContain("line 1: jobs_done")
    expect(await errorOf("export-ours")).toContain("line 1: leapgate_streams_active")
    expect(await errorOf("export-rubbish")).toBe('monitoring.export: line 2: "is" is no number')
    expect(await errorOf("export-number")).toContain("returned number, expected text")
    expect(await errorOf("export-throws")).toContain("no metrics today")
    expect(await errorOf("export-hangs")).toContain("did not finish monitoring.export within 100 ms")
  })

  const promtool = Bun.which("promtool")
  test.skipIf(promtool === null)("promtool can read it", async () => {
    const child = Bun.spawn([promtool ?? "", "check", "metrics"], {
      stdin: new Blob([await scrape("text/plain")]),
      stdout: "pipe",
      stderr: "pipe",
    })
    expect((await child.stdout.text()) + (await child.stderr.text())).toBe("")
  })
})

test("what waits when the gateway stops is told before it ends", async () => {
  const stopping = await startGateway({
    config: { providers: [{ name: "up", base_url: upstream.url, models: ["good"] }] },
    plugins: { "watcher.ts": WATCHER },
  })
  try {
    await (await postChat(stopping.url, { model: "good", headers: { "x-request-id": "the-last" } })).text()
    stopping.terminate()
    await stopping.exited
    expect(stopping.logs()).toContain('"requestId":"the-last"')
  } finally {
    await stopping.stop()
  }
})

const GOOD = `# HELP jobs_done_total Jobs that were done
# TYPE jobs_done_total counter
jobs_done_total{kind="a"} 3
# HELP job_seconds Time that jobs took
# TYPE job_seconds histogram
job_seconds_bucket{le="1"} 2
job_seconds_bucket{le="+Inf"} 3
job_seconds_sum 4.5
job_seconds_count 3
`

function gauge(name: string, value: number): string {
  return `# HELP ${name} Something\n# TYPE ${name} gauge\n${name} ${value}\n`
}

/** Logs what it is told. */
const WATCHER = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "watcher", version: "1.0.0", type: "monitoring",
  setup({ log }) {
    const note = (told) => (batch) => {
      for (const item of batch) log.info("told", { told, ...item })
    }
    return { recordMetric: note("recordMetric"), recordEvent: note("recordEvent"), startTrace: note("startTrace") }
  },
})`

const EMITTER = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "emitter", version: "1.0.0", type: "middleware",
  setup: ({ emit }) => ({
    beforeHandle() {
      emit.metric({ name: "emitter.calls", value: 1, type: "counter", tags: { a: "b" } })
      emit.cacheEvent({ eventType: "miss", key: "k" })
    },
  }),
})`

/** Null throws, undefined hangs. */
function exporter(name: string, text: string | number | null | undefined): string {
  const body =
    text === undefined
      ? "return new Promise(() => {})"
      : text === null
        ? 'throw new Error("no metrics today")'
        : `return ${JSON.stringify(text)}`
  return `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "monitoring",
  setup: () => ({ async export() { ${body} } }),
})`
}
