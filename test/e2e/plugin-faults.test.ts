/**
 * What plugins can do wrong, one by one, while others are asking. Whatever the fault, every other request must be
 * answered as if nothing were. Each line that is printed says what the others saw.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { HOOK_NAMES } from "../../src/plugin/contract.ts"
import { askPlain, postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readWholeStream } from "../support/streamed-reply.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

const ANSWER = "fine and whole"
const PATIENCE_MS = 60_000
/** A thousand plugins are built one by one. */
const MANY_PATIENCE_MS = 100_000

let upstream: HostileUpstream
let gateway: RunningGateway
let servingPid: number

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine ", "and ", "whole"]))
  const settings = { timeout: "300ms", on_error: "open" }
  gateway = await startGateway({
    config: {
      providers: [{ name: "up", base_url: upstream.url, models: ["good"] }],
      plugins: {
        configs: {
          rascal: settings,
          // Without a breaker: it would leave the plugin alone after the first of its faults.
          "caged-rascal": { ...settings, isolation: "worker", worker_memory: "100MB", breaker: false },
        },
      },
    },
    plugins: {
      "rascal.ts": rascal("rascal"),
      "caged.ts": rascal("caged-rascal"),
      "witness.ts": WITNESS,
    },
  })
  servingPid = gateway.servingPid()
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

interface Fault {
  readonly name: string
  /** What the rascal is told. */
  readonly deed: string
  /** Resolves when what the fault leads to has happened. */
  readonly until?: () => Promise<unknown>
}

const logged = (text: string) => waitFor(`"${text}" in the log`, () => gateway.logs().includes(text), 10_000)

/** The log has one line a second for each place, the admin API always the last failure. */
const failedWith = (text: string) =>
  waitFor(`"${text}" as the plugin's last error`, async () => {
    const info = await (await fetch(`${gateway.adminUrl}/plugins/rascal`)).text()
    return info.includes(text)
  })

const INLINE: readonly Fault[] = [
  { name: "sync throw", deed: "throw", until: () => failedWith("a throw") },
  { name: "async rejection", deed: "reject", until: () => failedWith("a rejection") },
  { name: "unhandled rejection later", deed: "reject later", until: () => failedWith("left behind") },
  { name: "throw in a timer", deed: "throw later", until: () => failedWith("in a timer") },
  {
    name: "never-settling hook",
    deed: "hang",
    until: () => failedWith("did not finish onRequest within 300 ms"),
  },
  { name: "prototype pollution", deed: "pollute", until: () => failedWith("not extensible") },
  { name: "replaced globals", deed: "replace globals", until: () => logged("replaced: none") },
  { name: "mutation of a frozen payload", deed: "mutate", until: () => logged("mutated: nothing") },
]

const CAGED: readonly Fault[] = [
  { name: "busy loop (worker)", deed: "loop", until: () => logged("was stuck in a call") },
  { name: "process.exit (worker)", deed: "exit", until: () => logged("exit code 3") },
  { name: "memory hog (worker)", deed: "hog", until: () => logged("more than worker_memory") },
]

describe("a plugin's fault costs no other request anything", () => {
  test.each(INLINE.map((fault) => [fault.name, fault] as const))(
    "%s",
    async (_, fault) => {
      await commit(fault, "rascal")
    },
    PATIENCE_MS,
  )

  test.each(CAGED.map((fault) => [fault.name, fault] as const))(
    "%s",
    async (_, fault) => {
      await commit(fault, "caged-rascal")
      await waitFor("the worker to be back", isBack, 10_000)
    },
    PATIENCE_MS,
  )

  test(
    "timer left behind: after a reload nothing of it fires",
    async () => {
      await gateway.writePlugin("ticker.ts", ticker("1.0.0", "setInterval(() => log.info('tick'), 2)"))
      await logged('"message":"tick"')
      await besideOthers("timer left behind", async () => {
        await gateway.writePlugin("ticker.ts", ticker("2.0.0", ""))
        await logged('"plugin reloaded","plugin":"ticker","version":"2.0.0"')
        const ticks = () => gateway.logs().split('"message":"tick"').length
        await waitFor("the ticking to stop", async () => {
          const before = ticks()
          await askPlain(gateway.url, "good")
          await Bun.sleep(50)
          return ticks() === before
        })
      })
    },
    PATIENCE_MS,
  )

  test("the process is the same one, and every request of it met unspoilt objects", async () => {
    expect(gateway.servingPid()).toBe(servingPid)
    await askPlain(gateway.url, "good")
    expect(gateway.logs()).not.toContain('"spoilt":true')
  })
})

test(
  "10,000 hooks: they load beside requests, and a request passes through them",
  async () => {
    const plugins = 10_000 / HOOK_NAMES.length
    await using crowded = await startGateway({
      config: {
        providers: [{ name: "up", base_url: upstream.url, models: ["good"] }],
        plugins: { max_plugins: plugins },
      },
    })
    const active = async () => {
      const { plugins: list } = (await (await fetch(`${crowded.adminUrl}/plugins`)).json()) as {
        plugins: { state: string; bundled: boolean }[]
      }
      return list.filter(({ state, bundled }) => state === "active" && !bundled).length
    }
    const loadMs = await besideOthers(
      "10,000 hooks, while they load",
      async () => {
        for (let number = 0; number < plugins; number++) {
          await crowded.writePlugin(`p${number}.ts`, manyHooks(`p${number}`))
        }
        await waitFor("all plugins to be active", async () => (await active()) === plugins, MANY_PATIENCE_MS)
      },
      // Each of their requests passes through all hooks that are there by then.
      { target: crowded, askers: 2 },
    )
    const reloadMs = await timed(() => fetch(`${crowded.adminUrl}/plugins/p0/reload`, { method: "POST" }))
    const requestMs = await timed(() => askPlain(crowded.url, "good"))
    const stats = (await (await fetch(`${crowded.adminUrl}/plugins/hooks/stats`)).json()) as {
      hooks: Record<string, { registered: number }>
    }
    const registered = Object.values(stats.hooks).reduce((sum, hook) => sum + hook.registered, 0)
    expect(registered).toBe(10_000)
    console.log(
      `10,000 hooks of ${plugins} plugins: loaded in ${Math.round(loadMs)} ms, one reload ${Math.round(reloadMs)} ms, one request ${Math.round(requestMs)} ms`,
    )
  },
  MANY_PATIENCE_MS + PATIENCE_MS,
)

/** Commits the fault three times while others ask. */
async function commit({ name, deed, until }: Fault, plugin: string): Promise<void> {
  await besideOthers(name, async () => {
    for (let time = 0; time < 3; time++) {
      const response = await postChat(gateway.url, { model: "good", headers: { [`x-${plugin}`]: deed } })
      expect(response.status).toBe(200)
      expect(await response.text()).toContain(ANSWER)
    }
    await until?.()
  })
}

async function isBack(): Promise<boolean> {
  const headers = { "x-caged-rascal": "say hello" }
  const response = await postChat(gateway.url, { model: "good", headers })
  await response.text()
  return response.headers.has("x-hello")
}

/** Runs the deed while others ask without a pause; every one of them must get the whole answer. */
async function besideOthers(
  name: string,
  deed: () => Promise<void>,
  { target = gateway, askers = 8 } = {},
): Promise<number> {
  const times: number[] = []
  let isOver = false
  async function ask(stream: boolean): Promise<void> {
    do {
      const startMs = performance.now()
      if (stream) {
        const reply = await readWholeStream(await postChat(target.url, { model: "good", stream }))
        expect(reply).toMatchObject({ text: ANSWER, finishReason: "stop", isDone: true, end: "clean" })
      } else expect(await askPlain(target.url, "good")).toBe(ANSWER)
      times.push(performance.now() - startMs)
    } while (!isOver)
  }
  const others = Promise.all(Array.from({ length: askers }, (_, index) => ask(index % 2 === 0)))
  // A failure is told below, when the deed is done.
  others.catch(() => {})
  const elapsedMs = await timed(() => deed()).finally(() => {
    isOver = true
  })
  await others
  const slowest = Math.round(Math.max(...times))
  console.log(
    `${name.padEnd(32)} others: ${times.length} asked, ${times.length} answered whole, slowest ${slowest} ms`,
  )
  return elapsedMs
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}

/** Does what the request's `x-<name>` header asks for. */
function rascal(name: string): string {
  return `import { definePlugin, GatewayError, HOOK_NAMES, Type } from "leapgate/plugin"

const attempt = (what, deed) => { try { deed(); return [what] } catch { return [] } }

const deeds = {
  "throw": () => { throw new Error("a throw") },
  "reject": async () => { throw new Error("a rejection") },
  "reject later": () => void setTimeout(() => void Promise.reject(new Error("left behind")), 5),
  "throw later": () => void setTimeout(() => { throw new Error("in a timer") }, 5),
  "hang": () => new Promise(() => {}),
  "pollute": () => { Object.prototype.status = 418; Object.prototype.polluted = true },
  "replace globals"({ log }) {
    const done = [
      ...attempt("JSON.parse", () => { JSON.parse = () => "spoilt" }),
      ...attempt("Response", () => { globalThis.Response = class {} }),
      ...attempt("Type", () => { Type.String = 1 }),
      ...attempt("GatewayError", () => { GatewayError.prototype.status = 418 }),
      ...attempt("HOOK_NAMES", () => { HOOK_NAMES.push("x") }),
    ]
    globalThis.fetch = () => { throw new Error("spoilt") }
    log.info("replaced: " + (done.join() || "none"))
  },
  "mutate"({ log, event }) {
    const done = [
      ...attempt("request", () => { event.request.model = "evil" }),
      ...attempt("message", () => { event.request.messages[0].content = "evil" }),
      ...attempt("messages", () => { event.request.messages.push({}) }),
      ...attempt("principal", () => { event.principal.name = "root" }),
      ...attempt("roles", () => { event.principal.roles.push("root") }),
    ]
    log.info("mutated: " + (done.join() || "nothing"))
  },
  "loop": () => { for (;;); },
  "exit": () => process.exit(3),
  "hog"() {
    const all = globalThis.all = []
    const timer = setInterval(() => {
      all.push(new Array(500_000).fill(0).map((_, index) => index + 0.5))
      if (all.length >= 75) clearInterval(timer)
    }, 5)
  },
}

export default definePlugin({
  name: "${name}",
  version: "1.0.0",
  type: "middleware",
  setup: ({ log }) => ({
    beforeHandle(context) {
      if (context.headers.get("x-${name}") === "say hello") context.setHeader("x-hello", "hello")
    },
    hooks: {
      onRequest(event) {
        return deeds[event.headers.get("x-${name}")]?.({ log, event })
      },
      onResponse(event) { try { event.model = "evil" } catch {} },
    },
  }),
})`
}

/** Comes after the rascals, and says when it is given anything that they have spoilt. */
const WITNESS = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "witness",
  version: "1.0.0",
  type: "monitoring",
  setup({ log }) {
    const look = (spoilt) => { if (spoilt) log.info("seen", { spoilt: true }) }
    return {
      hooks: {
        onRequest: ({ request, model, principal }) => look(model !== "good" || request.model !== "good" || principal.name !== "anonymous" || "polluted" in {}),
        onResponse: ({ model }) => look(model !== "good"),
      },
    }
  },
})`

function ticker(version: string, body: string): string {
  return `import { definePlugin } from "leapgate/plugin"
export default definePlugin({ name: "ticker", version: "${version}", type: "middleware",
  setup({ log }) { ${body}; return { beforeHandle() {} } } })`
}

function manyHooks(name: string): string {
  const hooks = HOOK_NAMES.map((hook) => `${hook}() {}`).join(", ")
  return `import { definePlugin } from "leapgate/plugin"
export default definePlugin({ name: "${name}", version: "1.0.0", type: "monitoring", setup: () => ({ hooks: { ${hooks} } }) })`
}
