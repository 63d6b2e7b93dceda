/** A new version that gets a share of the requests, until it is promoted, rolled back, or fails. */
import { afterEach, describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { stringify } from "yaml"
import { postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readStream } from "../support/streamed-reply.ts"
import { answers, pausesMidway } from "../support/upstream-scripts.ts"
import { versioned } from "../support/versioned-plugin.ts"
import { waitFor } from "../support/wait.ts"

let gateway: RunningGateway
let upstream: HostileUpstream

afterEach(async () => {
  await gateway?.stop()
  upstream?.stop()
})

async function start(entry: object = { canary: "50%" }, source = versioned): Promise<void> {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine"]))
  upstream.script("held", pausesMidway(["early ", "late"]))
  gateway = await startGateway({ config: configWith(entry), plugins: { "versioned.ts": source(1) } })
  await gateway.writePlugin("versioned.ts", source(2))
  await waitFor("the canary", async () => (await info()).canary?.version === "1.0.2")
}

function configWith(entry: object) {
  return {
    server: { host: "127.0.0.1", port: 0 },
    providers: [{ name: "up", base_url: upstream.url, models: ["good", "held"] }],
    plugins: { configs: { versioned: entry } },
  }
}

interface Info {
  readonly version: string
  readonly serves_previous: boolean
  readonly previous_version: string | null
  readonly canary: { readonly version: string; readonly share: number; readonly calls: number } | null
  readonly error: { readonly message: string } | null
}

async function info(): Promise<Info> {
  return (await (await fetch(`${gateway.adminUrl}/plugins/versioned`)).json()) as Info
}

function post(operation: string): Promise<Response> {
  return fetch(`${gateway.adminUrl}/plugins/versioned/${operation}`, { method: "POST" })
}

/** Which version answered each of so many requests. */
async function versionsOf(count: number): Promise<readonly string[]> {
  const versions: string[] = []
  for (let index = 0; index < count; index++) {
    const response = await postChat(gateway.url, { model: "good" })
    await response.text()
    versions.push(response.headers.get("x-version") ?? "none")
  }
  return versions
}

/** As many requests as it takes until both versions have answered. */
async function untilBoth(): Promise<void> {
  const seen = new Set<string>()
  await waitFor("both versions to answer", async () => {
    for (const version of await versionsOf(5)) seen.add(version)
    return seen.size === 2
  })
  expect([...seen].sort()).toEqual(["1", "2"])
}

describe("a canary", () => {
  test("answers its share, and is counted apart", async () => {
    await start()
    await untilBoth()
    const text = await (await fetch(`${gateway.url}/metrics`)).text()
    for (const [version, role] of [
      ["1.0.1", "stable"],
      ["1.0.2", "canary"],
    ]) {
      const labels = `plugin="versioned",version="${version}",role="${role}"`
      expect(text).toMatch(new RegExp(`^leapgate_plugin_calls_total\\{${labels}\\} [1-9]`, "m"))
      expect(text).toMatch(
        new RegExp(
          `^leapgate_hook_duration_seconds_count\\{plugin="versioned",hook="beforeHandle",version="${version}",role="${role}"\\} [1-9]`,
          "m",
        ),
      )
    }
    expect(await info()).toMatchObject({ version: "1.0.1", canary: { version: "1.0.2", share: 0.5 } })
  }, 20_000)

  test("that is promoted answers all", async () => {
    await start()
    expect(await (await post("promote")).json()).toEqual({
      message: "plugin promoted",
      name: "versioned",
      version: "1.0.2",
    })
    expect(new Set(await versionsOf(20))).toEqual(new Set(["2"]))
    expect((await post("promote")).status).toBe(409)
    expect((await post("rollback")).status).toBe(200)
    expect(new Set(await versionsOf(5))).toEqual(new Set(["1"]))
    expect(await info()).toMatchObject({ serves_previous: true, previous_version: null })
  }, 20_000)

  test("that is rolled back answers none", async () => {
    await start()
    expect(await (await post("rollback")).json()).toEqual({
      message: "plugin rolled back",
      name: "versioned",
      version: "1.0.1",
    })
    expect(new Set(await versionsOf(20))).toEqual(new Set(["1"]))
    expect(await info()).toMatchObject({ canary: null, serves_previous: true })
    const again = await post("rollback")
    expect(again.status).toBe(409)
    expect(await again.text()).toContain("there is no earlier version")
  }, 20_000)

  test("is promoted when its share is taken out of the config", async () => {
    await start()
    writeFileSync(join(gateway.directory, "config.yaml"), stringify(configWith({})))
    await waitFor("the promotion", async () => (await info()).version === "1.0.2")
    expect(await info()).toMatchObject({ canary: null, error: null })
  }, 20_000)

  test("that fails too often is dropped, and no request suffers from it", async () => {
    await start({ canary: "90%", probation: { calls: 50, max_errors: 3 } }, (number) =>
      number === 1
        ? versioned(1)
        : versioned(2).replace("context.setHeader(", "throw new Error('broken') || ("),
    )
    await waitFor("the canary to be dropped", async () => {
      const responses = await Promise.all([1, 2, 3].map(() => postChat(gateway.url, { model: "good" })))
      for (const response of responses) {
        expect(response.status).toBe(200)
        await response.text()
      }
      return (await info()).canary === null
    })
    expect((await info()).error?.message).toStartWith("version 1.0.2 failed 4 of ")
    expect(new Set(await versionsOf(10))).toEqual(new Set(["1"]))
  }, 20_000)
})

test("a stream has one version from its first byte to its last, whatever becomes of the canary", async () => {
  await start({ canary: "99.999%" })
  const stream = readStream(await postChat(gateway.url, { model: "held", stream: true }))
  await stream.untilText()
  expect((await post("rollback")).status).toBe(200)
  upstream.proceed("held")
  const whole = await stream.rest()
  expect(whole).toMatchObject({ text: "early late", isDone: true, end: "clean" })
  expect(new Set(whole.chunks.map((chunk) => chunk.by))).toEqual(new Set([2]))
}, 20_000)

test("a provider plugin is tried with its models: a request that it gets sees them", async () => {
  await start({ canary: "50%" }, provider)
  const answersOf = async (model: string) => {
    const response = await postChat(gateway.url, { model })
    return `${response.status} ${await response.text()}`
  }
  const seen = new Set<string>()
  await waitFor("both versions to answer", async () => {
    seen.add(await answersOf("shared"))
    return seen.size === 2
  })
  expect([...seen].map((text) => /version \d/.exec(text)?.[0]).sort()).toEqual(["version 1", "version 2"])
  await waitFor("a request that sees the new model", async () =>
    (await answersOf("only-2")).includes("version 2"),
  )
  expect((await post("rollback")).status).toBe(200)
  for (let count = 0; count < 10; count++) expect(await answersOf("only-2")).toStartWith("404")
}, 20_000)

function provider(number: number): string {
  return `import { definePlugin } from "leapgate/plugin"

export default definePlugin({
  name: "versioned",
  version: "1.0.${number}",
  type: "provider",
  setup: () => ({
    models: ["shared", "only-${number}"],
    chat: ({ model }) => ({
      id: "1", object: "chat.completion", created: 1, model,
      choices: [{ index: 0, message: { role: "assistant", content: "version ${number}" }, finish_reason: "stop" }],
    }),
  }),
})`
}
