/**
 * What the original did wrong when it loaded, reloaded and ended plugins: each fault has its number, and a test that
 * the original would fail. Those of calls and of the HTTP side are in original-call-faults.test.ts.
 */
import { afterEach, expect, test } from "bun:test"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import type { PluginInfo } from "../../src/plugin/plugin-info.ts"
import { askPlain, postChat } from "../support/chat.ts"
import { type GatewayOptions, type RunningGateway, startGateway } from "../support/gateway.ts"
import { waitFor } from "../support/wait.ts"
import { countOf, said, witness } from "./witness.ts"

const open: RunningGateway[] = []

afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.stop()
})

/** The guide's own example, with an address to reach and a port that is free. */
const GUIDE_CONFIG = `
server: { port: 0 }
plugins:
  enabled: true
  directory: "./plugins"
  auto_load: true
  hot_reload: false
  reload_interval: 30s
  max_plugins: 100

  configs:
    example-provider:
      enabled: true
      priority: 10
      config:
        api_endpoint: "https://api.example.com/v1"
        api_key: "\${EXAMPLE_API_KEY}"
        timeout: "30s"
        max_retries: 3

    rate-limiter:
      enabled: true
      priority: 80
      config:
        max_requests: 100
        window: "1m"
        identifier: "ip"
        routes:
          - "/v1/*"
          - "/api/*"
`

test("fault 1: the configuration of the guide loads its plugins", async () => {
  const gateway = await running({ config: GUIDE_CONFIG, env: { EXAMPLE_API_KEY: "sk-example" } })
  for (const name of ["example-provider", "rate-limiter"]) {
    expect(await infoOf(gateway, name)).toMatchObject({ state: "active", enabled: true, error: null })
  }
})

test("fault 2: what the YAML says about a plugin reaches it: config, priority, enabled, dependencies", async () => {
  const gateway = await running({
    config: {
      plugins: {
        configs: {
          told: { priority: 73, config: { word: "hello" }, dependencies: ["needed"] },
          silent: { enabled: false },
        },
      },
    },
    plugins: {
      "told.ts": witness({
        name: "told",
        more: "config: Type.Object({ word: Type.String() }),",
        setup: "say(config.word)",
      }),
      "needed.ts": witness({ name: "needed" }),
      "silent.ts": witness({ name: "silent" }),
    },
  })
  expect(said(gateway.logs())).toEqual(["needed up", "told hello", "told up"])
  expect(await infoOf(gateway, "told")).toMatchObject({ priority: 73, dependencies: { needed: "*" } })
  expect(await infoOf(gateway, "silent")).toMatchObject({ state: "loaded", enabled: false })
})

test("fault 3: a reload sets a plugin up with its own config, and a changed config is applied", async () => {
  const speaker = (name: string) =>
    witness({ name, more: "config: Type.Object({ word: Type.String() }),", setup: "say(config.word)" })
  const configOf = (word: string) => `server: { port: 0 }
plugins: { configs: { first: { config: { word: ${word} } }, last: { config: { word: other } } } }`
  const gateway = await running({
    config: configOf("one"),
    plugins: { "first.ts": speaker("first"), "last.ts": speaker("last") },
  })
  expect((await admin(gateway, "first/reload")).status).toBe(200)
  expect(countOf(gateway.logs(), "first one")).toBe(2)
  await Bun.write(join(gateway.directory, "config.yaml"), configOf("two"))
  await waitFor("the new word", () => said(gateway.logs()).includes("first two"))
  expect(countOf(gateway.logs(), "last other")).toBe(1)
})

test("fault 4: a reload runs the new code, and the old is gone", async () => {
  const gateway = await running({
    // Otherwise the old one would be kept until the new one has proved itself.
    config: { plugins: { configs: { news: { probation: false } } } },
    plugins: { "news.ts": greeter("news", "old") },
  })
  expect(await header(gateway, "x-news")).toBe("old")
  await gateway.writePlugin("news.ts", greeter("news", "new"))
  expect((await admin(gateway, "news/reload")).status).toBe(200)
  expect(await header(gateway, "x-news")).toBe("new")
  await waitFor("the old version to be disposed", () => countOf(gateway.logs(), "news down") === 1)
})

test("fault 5: a file reloads the plugin in it, whatever either is called, and no other", async () => {
  const gateway = await running({
    plugins: {
      "rate_limiter.ts": greeter("rate-limits", "1"),
      "rate.ts": greeter("rate", "1"),
    },
  })
  await gateway.writePlugin("rate_limiter.ts", greeter("rate-limits", "2"))
  await waitFor("the new version", async () => (await header(gateway, "x-rate-limits")) === "2")
  expect(countOf(gateway.logs(), "rate-limits up")).toBe(2)
  expect(countOf(gateway.logs(), "rate up")).toBe(1)
})

test("fault 6: new, changed and deleted files are seen at once, and stopping twice does no harm", async () => {
  const gateway = await running()
  await gateway.writePlugin("late.ts", greeter("late", "1"))
  await waitFor("the new file", async () => (await header(gateway, "x-late")) === "1")
  await gateway.writePlugin("late.ts", greeter("late", "2"))
  await waitFor("the change", async () => (await header(gateway, "x-late")) === "2")
  await gateway.deletePlugin("late.ts")
  await waitFor("the deletion", async () => (await header(gateway, "x-late")) === null)
  gateway.terminate()
  gateway.terminate()
  expect(await gateway.exited).toBeLessThan(2)
  expect(gateway.logs()).not.toContain("reached nobody")
})

test("fault 7: hooks run once after any number of reloads, and not at all when their plugin is off", async () => {
  const hooked = witness({ name: "hooked", abilities: 'hooks: { onRequest() { say("asked") } }' })
  const gateway = await running({ config: DEMO, plugins: { "hooked.ts": hooked } })
  for (let count = 0; count < 5; count++) await admin(gateway, "hooked/reload")
  await askPlain(gateway.url, "demo")
  expect(countOf(gateway.logs(), "hooked asked")).toBe(1)
  await admin(gateway, "hooked/disable")
  await askPlain(gateway.url, "demo")
  expect(countOf(gateway.logs(), "hooked asked")).toBe(1)
})

test("fault 10: a slow setup delays no request, and a setup may use the gateway", async () => {
  const gateway = await running({ config: DEMO })
  const setup = `const reply = await fetch("${gateway.adminUrl}/plugins/example-provider")
    say("sees " + (await reply.json()).state)
    await new Promise(() => {})`
  await gateway.writePlugin("slow.ts", witness({ name: "slow", setup }))
  await waitFor("the setup to have asked", () => said(gateway.logs()).includes("slow sees active"))
  expect(await askPlain(gateway.url, "demo")).toContain("demo")
  expect((await fetch(`${gateway.adminUrl}/plugins`)).status).toBe(200)
})

test("fault 11: plugins load together, in the order of what they need; circles are named, and who is needed stays", async () => {
  // Each waits until the other one's setup has begun: one after the other they would never be done.
  const meet = (name: string, other: string) =>
    witness({
      name,
      setup: `const met = (globalThis.met ??= { a: Promise.withResolvers(), b: Promise.withResolvers() })
    met.${name}.resolve()
    await met.${other}.promise`,
    })
  const gateway = await running({
    config: { plugins: { timeout: "5s" } },
    plugins: {
      "a.ts": meet("a", "b"),
      "b.ts": meet("b", "a"),
      "above.ts": witness({ name: "above", more: 'dependencies: { base: "^1.0.0" },' }),
      "base.ts": witness({ name: "base" }),
      "chicken.ts": witness({ name: "chicken", more: 'dependencies: { egg: "*" },' }),
      "egg.ts": witness({ name: "egg", more: 'dependencies: { chicken: "*" },' }),
    },
  })
  const lines = said(gateway.logs())
  expect(lines).toContain("a up")
  expect(lines).toContain("b up")
  expect(lines.indexOf("base up")).toBeLessThan(lines.indexOf("above up"))
  expect((await infoOf(gateway, "egg")).error?.message).toMatch(/chicken → egg → chicken|egg → chicken → egg/)
  expect((await admin(gateway, "base/disable")).status).toBe(409)
  expect(await infoOf(gateway, "base")).toMatchObject({ state: "active" })
})

test("fault 12: one bad file stops neither its neighbours nor what lies in folders", async () => {
  const gateway = await running()
  await gateway.writePlugin("aaa.ts", "export default broken(")
  await mkdir(join(gateway.directory, "plugins/group"))
  await gateway.writePlugin("group/inner.ts", witness({ name: "inner" }))
  await gateway.writePlugin("zzz.ts", witness({ name: "neighbour" }))
  await waitFor("both", () =>
    ["inner up", "neighbour up"].every((line) => said(gateway.logs()).includes(line)),
  )
  expect(await infoOf(gateway, "aaa")).toMatchObject({ state: "error" })
})

test("fault 14: a provider plugin serves while it is on, and only then", async () => {
  const gateway = await running({ config: DEMO })
  expect((await postChat(gateway.url, { model: "demo" })).status).toBe(200)
  await admin(gateway, "example-provider/disable")
  expect((await postChat(gateway.url, { model: "demo" })).status).toBe(503)
  await admin(gateway, "example-provider/enable")
  expect((await postChat(gateway.url, { model: "demo" })).status).toBe(200)
})

test("fault 17: enabling a broken plugin sets it up or fails, and an unknown name is 404 everywhere", async () => {
  const gateway = await running({
    plugins: { "broken.ts": witness({ name: "broken", setup: 'throw new Error("no luck")' }) },
  })
  const enabled = await admin(gateway, "broken/enable")
  expect(enabled.status).toBe(500)
  expect(await enabled.text()).toContain("no luck")
  expect(await infoOf(gateway, "broken")).toMatchObject({ state: "error" })
  for (const operation of ["enable", "disable", "reload"]) {
    expect((await admin(gateway, `nobody/${operation}`)).status).toBe(404)
  }
})

test("fault 26: plugins end in the reverse order of what they need", async () => {
  const gateway = await running({
    plugins: {
      "a.ts": witness({ name: "top", more: 'dependencies: { middle: "*" },' }),
      "b.ts": witness({ name: "bottom" }),
      "c.ts": witness({ name: "middle", more: 'dependencies: { bottom: "*" },' }),
    },
  })
  gateway.terminate()
  await gateway.exited
  expect(said(gateway.logs()).filter((line) => line.endsWith("down"))).toEqual([
    "top down",
    "middle down",
    "bottom down",
  ])
})

/** The demo provider answers for the model `demo`. */
const DEMO = { plugins: { configs: { "example-provider": {} } } }

async function running(options: GatewayOptions = {}): Promise<RunningGateway> {
  const gateway = await startGateway(options)
  open.push(gateway)
  return gateway
}

/** A middleware that puts a word on every reply, under its name. */
function greeter(name: string, word: string): string {
  return witness({
    name,
    type: "middleware",
    abilities: `beforeHandle(context) { context.setHeader("x-${name}", "${word}") }`,
  })
}

async function header(gateway: RunningGateway, name: string): Promise<string | null> {
  return (await fetch(`${gateway.url}/v1/models`)).headers.get(name)
}

function admin(gateway: RunningGateway, operation: string): Promise<Response> {
  return fetch(`${gateway.adminUrl}/plugins/${operation}`, { method: "POST" })
}

async function infoOf(gateway: RunningGateway, name: string): Promise<PluginInfo> {
  return (await (await fetch(`${gateway.adminUrl}/plugins/${name}`)).json()) as PluginInfo
}
