/** Plugins that throw, hang and break their word: nobody but their own request may notice. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { askPlain, postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readWholeStream } from "../support/streamed-reply.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

let upstream: HostileUpstream
let gateway: RunningGateway
let firstServingPid: number

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine ", "and ", "whole"]))
  const timeout = "300ms"
  gateway = await startGateway({
    config: {
      providers: [{ name: "up", base_url: upstream.url, models: ["good"] }],
      plugins: {
        configs: {
          "rascal-open": { timeout, on_error: "open" },
          "rascal-closed": { timeout, on_error: "closed" },
        },
      },
    },
    plugins: { "rascal-open.ts": rascal("rascal-open"), "rascal-closed.ts": rascal("rascal-closed") },
  })
  firstServingPid = gateway.servingPid()
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

const before = [
  "throws",
  "throws nothing",
  "rejects",
  "never settles",
  "returns rubbish",
  "ignores its signal",
]
const after = ["throws on the way out", "never settles on the way out", "returns rubbish on the way out"]
const hooks = [
  "throws in onRequest",
  "rejects in onRequest",
  "never settles in onRequest",
  "returns rubbish in onRequest",
]
const chunks = ["throws in onChunk", "never settles in onChunk", "returns rubbish in onChunk"]
const observers = [
  "throws in onResponse",
  "never settles in onResponse",
  "rejects in onStreamEnd",
  "throws in a timer",
  "leaves a rejection",
]

describe("with on_error: open", () => {
  test.each([...before, ...after, ...hooks, ...observers])(
    "a plugin that %s costs its own request nothing",
    async (deed) => {
      await expectOthersUnharmed(async () => {
        const response = await provoke("rascal-open", deed)
        expect(response.status).toBe(200)
        expect(await response.text()).toContain("fine and whole")
      })
    },
  )

  test.each([...hooks, ...chunks, ...observers])("a plugin that %s leaves a stream whole", async (deed) => {
    await expectOthersUnharmed(async () => {
      const stream = await readWholeStream(await provoke("rascal-open", deed, true))
      expect(stream).toMatchObject({
        text: "fine and whole",
        finishReason: "stop",
        isDone: true,
        end: "clean",
      })
    })
  })
})

describe("with on_error: closed", () => {
  test.each(["throws", "rejects", "never settles", "throws in onRequest", "never settles in onRequest"])(
    "a plugin that %s fails its own request by name, and no other",
    async (deed) => {
      await expectOthersUnharmed(async () => {
        const response = await provoke("rascal-closed", deed)
        expect(response.status).toBe(503)
        const text = await response.text()
        expect(JSON.parse(text).error.code).toMatch(/^plugin_(failed|timeout)$/)
        expect(text).toContain("rascal-closed")
        expect(text).not.toContain("a secret of the plugin's")
      })
    },
  )

  test.each(chunks.slice(0, 2))("a plugin that %s ends its stream with an error", async (deed) => {
    await expectOthersUnharmed(async () => {
      const stream = await readWholeStream(await provoke("rascal-closed", deed, true))
      expect(stream.error?.code).toMatch(/^plugin_(failed|timeout)$/)
      expect(stream).toMatchObject({ isDone: false, end: "clean", afterTheEnd: [] })
    })
  })
})

test("the admin API shows what went wrong last", async () => {
  await provoke("rascal-open", "throws")
  const info = (await (await fetch(`${gateway.adminUrl}/plugins/rascal-open`)).json()) as {
    metrics: { errors: number }
  }
  expect(info.metrics.errors).toBeGreaterThan(0)
  expect(JSON.stringify(info)).toContain("a secret of the plugin's")
})

test("a plugin that leaves timers and listeners behind is cleaned up when its file goes", async () => {
  await gateway.writePlugin("ticker.ts", ticker(gateway.directory))
  const ticks = Bun.file(`${gateway.directory}/ticks`)
  await waitFor("the plugin to tick", () => ticks.exists())
  await gateway.deletePlugin("ticker.ts")
  await waitFor("the plugin to be gone", async () => {
    return (await fetch(`${gateway.adminUrl}/plugins/ticker`)).status === 404
  })
  await waitFor("the ticking to stop", async () => {
    const before = await ticks.text()
    await Bun.sleep(100)
    return (await ticks.text()) === before
  })
})

test("one process lived through all of this", () => {
  expect(gateway.servingPid()).toBe(firstServingPid)
})

/** Runs the deed while others are asking; all of them must be answered. */
async function expectOthersUnharmed(deed: () => Promise<void>): Promise<void> {
  const others = Array.from({ length: 10 }, () => askPlain(gateway.url, "good"))
  await deed()
  expect(new Set(await Promise.all(others))).toEqual(new Set(["fine and whole"]))
  expect(await askPlain(gateway.url, "good")).toBe("fine and whole")
}

function provoke(plugin: string, deed: string, stream = false): Promise<Response> {
  return postChat(gateway.url, { model: "good", stream, headers: { [`x-${plugin}`]: deed } })
}

/** Does what the request's \`x-<name>\` header asks for. */
function rascal(name: string): string {
  return `import { definePlugin } from "leapgate/plugin"

const never = new Promise(() => {})
const fail = () => { throw new Error("a secret of the plugin's") }
const deeds = {
  "throws": fail,
  "throws nothing": () => { throw undefined },
  "rejects": async () => fail(),
  "never settles": () => never,
  "returns rubbish": () => ({ status: 200, body: "rubbish" }),
  "ignores its signal": async () => { await Bun.sleep(600) },
}

function act(deed, where) {
  if (deed === null || deed === undefined) return
  const [what, place = ""] = deed.split(/ (?=on the way out|in on)/)
  if (place === where) return deeds[what]?.()
}

export default definePlugin({
  name: "${name}",
  version: "1.0.0",
  type: "middleware",
  setup: () => ({
    priority: ${name === "rascal-open" ? 40 : 41},
    beforeHandle: (context) => act(context.headers.get("x-${name}"), ""),
    afterHandle: (context) => act(context.headers.get("x-${name}"), "on the way out"),
    hooks: {
      onRequest: ({ headers }) => act(headers.get("x-${name}"), "in onRequest") ?? { metadata: { ["${name}"]: headers.get("x-${name}") } },
      onChunk: ({ metadata }) => act(metadata["${name}"], "in onChunk"),
      onStreamEnd: ({ metadata }) => act(metadata["${name}"], "in onStreamEnd"),
      onResponse({ metadata }) {
        const deed = metadata["${name}"]
        if (deed === "throws in a timer") setTimeout(fail, 1)
        if (deed === "leaves a rejection") void Promise.reject(new Error("left behind"))
        return act(deed, "in onResponse")
      },
    },
  }),
})`
}

/** Writes to a file for as long as it lives, and never cleans up. */
function ticker(directory: string): string {
  return `import { appendFileSync } from "node:fs"
import { definePlugin } from "leapgate/plugin"

export default definePlugin({
  name: "ticker",
  version: "1.0.0",
  type: "middleware",
  setup() {
    setInterval(() => appendFileSync("${directory}/ticks", "."), 5)
    return { beforeHandle() {} }
  },
})`
}
