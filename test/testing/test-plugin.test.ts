import { describe, expect, expectTypeOf, test } from "bun:test"
import { existsSync } from "node:fs"
import {
  type AuthAbilities,
  definePlugin,
  GatewayError,
  type MiddlewareAbilities,
  Type,
} from "leapgate/plugin"
import { testPlugin } from "leapgate/testing"

const counter = definePlugin({
  name: "counter",
  version: "1.0.0",
  type: "middleware",
  config: Type.Object({ header: Type.String({ default: "x-count" }) }),
  setup({ config, log, state }) {
    return {
      async beforeHandle({ setHeader }) {
        const { value } = await state.increment("requests")
        setHeader(config.header, String(value))
      },
      hooks: {
        onRequest({ operation, request }) {
          if (operation === "chat") log.info("a request", { messages: request.messages.length })
        },
        onResponse({ tokensUsed }) {
          log.info("answered", { tokensUsed })
        },
      },
    }
  },
})

const fresh = (version: string, answer: string) =>
  definePlugin({
    name: "counter",
    version,
    type: "middleware",
    setup: ({ state }) => ({
      async beforeHandle({ setHeader }) {
        setHeader("x-count", `${answer} ${(await state.increment("requests")).value}`)
      },
    }),
  })

describe("a plugin under test", () => {
  test("runs in a gateway before the upstream of the test", async () => {
    await using app = await testPlugin(counter, { upstream: "good morning" })
    const { status, text, headers, completion } = await app.chat("hello")
    expect({ status, text, count: headers.get("x-count") }).toEqual({
      status: 200,
      text: "good morning",
      count: "1",
    })
    expect(completion?.model).toBe("test-model")
    expect(app.upstream.requests).toMatchObject([
      { method: "POST", path: "/v1/chat/completions", body: { messages: [{ content: "hello" }] } },
    ])
    expect((await app.fetch("/v1/models")).headers.get("x-count")).toBe("2")
  })

  test("gets its config, checked", async () => {
    await using app = await testPlugin(counter, { config: { header: "x-seen" } })
    expect((await app.chat("hello")).headers.get("x-seen")).toBe("1")
    expect(testPlugin(counter, { config: { haeder: "x" } })).rejects.toThrow('did you mean "header"?')
  })

  test("shows its calls, with what they threw", async () => {
    const strict = definePlugin({
      name: "strict",
      version: "1.0.0",
      type: "middleware",
      setup: () => ({
        beforeHandle({ headers }) {
          if (headers.has("x-bad")) throw new GatewayError("request_rejected", "no")
        },
      }),
    })
    await using app = await testPlugin(strict, { plugins: [counter] })
    await app.chat("hello")
    expect((await app.chat("hello", { headers: { "x-bad": "1" } })).error?.message).toBe("no")
    expect(app.calls).toEqual([
      {
        name: "hook beforeHandle strict",
        plugin: "strict",
        hook: "beforeHandle",
        durationMs: expect.any(Number),
      },
      {
        name: "hook beforeHandle strict",
        plugin: "strict",
        hook: "beforeHandle",
        durationMs: expect.any(Number),
        error: expect.any(GatewayError),
      },
    ])
  })

  test("has done what observers do when the gateway is idle", async () => {
    await using app = await testPlugin(counter)
    await app.chat("hello")
    await app.idle()
    expect(app.logs.map(({ message }) => message)).toEqual(["a request", "answered"])
    expect(app.logs).toMatchObject([{ messages: 1 }, { tokensUsed: 7 }])
    expect(app.calls.map(({ hook }) => hook)).toEqual(["beforeHandle", "onRequest", "onResponse"])
    expect(app.allLogs.some(({ message }) => message === "plugins loaded")).toBe(true)
  })

  test("is counted in the metrics", async () => {
    await using app = await testPlugin(counter, { gateway: { admin: { token: "secret" } } })
    await app.chat("hello")
    await app.idle()
    const series = 'leapgate_plugin_calls_total{plugin="counter",version="1.0.0",role="stable"}'
    expect((await app.metrics()).get(series)).toBe(3)
  })

  test("gives its abilities, typed", async () => {
    await using app = await testPlugin(counter)
    expectTypeOf(app.abilities.beforeHandle).toEqualTypeOf<MiddlewareAbilities["beforeHandle"]>()
    expectTypeOf(app.abilities).not.toExtend<AuthAbilities>()
    expect(app.abilities.hooks?.onRequest).toBeFunction()
  })

  test("may be a provider", async () => {
    const provider = definePlugin({
      name: "echo",
      version: "1.0.0",
      type: "provider",
      setup: () => ({
        models: ["echo-1"],
        chat: ({ request, model }) => ({
          id: "1",
          object: "chat.completion",
          created: 0,
          model,
          choices: [
            {
              index: 0,
              message: { role: "assistant", content: String(request.messages[0]?.content) },
              finish_reason: "stop",
            },
          ],
        }),
      }),
    })
    await using app = await testPlugin(provider)
    expect((await app.chat("hello", { model: "echo-1" })).text).toBe("hello")
    expect(app.calls.map(({ name }) => name)).toEqual(["hook provider.chat echo"])
    expect(app.upstream.requests).toEqual([])
  })

  test("that cannot be loaded says why", async () => {
    const broken = definePlugin({
      name: "broken",
      version: "1.0.0",
      type: "monitoring",
      setup() {
        throw new Error("no database")
      },
    })
    expect(testPlugin(broken)).rejects.toThrow('setup of plugin "broken" failed: no database')
    const nameless = { ...broken, name: "No Name" }
    expect(testPlugin(nameless)).rejects.toThrow("must be lower-case letters")
  })
})

describe("reload", () => {
  test("replaces the plugin, and its state stays", async () => {
    await using app = await testPlugin(fresh("1.0.0", "old"))
    expect((await app.chat("hello")).headers.get("x-count")).toBe("old 1")
    await app.reload(fresh("2.0.0", "new"))
    expect((await app.chat("hello")).headers.get("x-count")).toBe("new 2")
  })

  test("of a bad version throws why, and the old one serves on", async () => {
    await using app = await testPlugin(fresh("1.0.0", "old"))
    const bad = { ...fresh("2.0.0", "bad"), setup: () => ({ beforeHandle: "no function" }) }
    expect(app.reload(bad)).rejects.toThrow("beforeHandle: must be a function")
    expect((await app.chat("hello")).headers.get("x-count")).toBe("old 1")
  })
})

describe("the upstream", () => {
  test("streams pieces, or gives them together", async () => {
    await using app = await testPlugin(counter)
    app.upstream.stream(["a", "b", "c"])
    const streamed = await app.chat("hello", { stream: true })
    expect(streamed.text).toBe("abc")
    expect(streamed.chunks.map(({ choices }) => choices[0]?.delta.content)).toEqual([
      "a",
      "b",
      "c",
      undefined,
    ])
    expect((await app.chat("hello")).text).toBe("abc")
  })

  test("takes replies in order, and the last one stays until there is another", async () => {
    await using app = await testPlugin(counter)
    app.upstream.reply("one")
    app.upstream.reply("two")
    const texts = async (count: number) => {
      const heard: string[] = []
      for (let at = 0; at < count; at++) heard.push((await app.chat("hello")).text)
      return heard
    }
    expect(await texts(3)).toEqual(["one", "two", "two"])
    app.upstream.reply("three")
    expect(await texts(2)).toEqual(["three", "three"])
  })

  test("answers with an object or a Response as it is", async () => {
    await using app = await testPlugin(counter, { gateway: { routing: { max_retries: 0 } } })
    app.upstream.reply({ id: "x", object: "chat.completion", created: 1, model: "m", choices: [] })
    expect((await app.chat("hello")).completion).toMatchObject({ id: "x", choices: [] })
    app.upstream.reply(Response.json({ error: { message: "too long" } }, { status: 400 }))
    expect((await app.chat("hello")).error?.message).toContain("too long")
  })

  test("fails as it is told", async () => {
    await using app = await testPlugin(counter, { gateway: { routing: { max_retries: 0 } } })
    app.upstream.fail(401)
    const { status, error, text } = await app.chat("hello")
    expect({ status, code: error?.code, text }).toEqual({
      status: 502,
      code: "upstream_auth_failed",
      text: "",
    })
  })
})

test("further providers and aliases come from the gateway's config", async () => {
  await using app = await testPlugin(counter, {
    gateway: {
      providers: [{ name: "second", base_url: "http://127.0.0.1:1", models: ["other"] }],
      models: { quick: ["upstream/test-model"] },
    },
  })
  const { data } = (await (await app.fetch("/v1/models")).json()) as { data: { id: string }[] }
  expect(data.map(({ id }) => id)).toContain("other")
  expect((await app.chat("hello", { model: "quick" })).text).toBe("hello")
})

test("several gateways run beside each other, and nothing of them is left", async () => {
  const [one, other] = await Promise.all([
    testPlugin(counter, { upstream: "one" }),
    testPlugin(counter, { upstream: "other" }),
  ])
  expect((await one.chat("hello")).text).toBe("one")
  expect((await other.chat("hello")).text).toBe("other")
  expect((await other.chat("hello")).headers.get("x-count")).toBe("2")
  const directory = String(one.allLogs.length >= 0 && (await directoryOf(one.url)))
  expect(existsSync(directory)).toBe(true)
  await one.stop()
  await other.stop()
  expect(existsSync(directory)).toBe(false)
  expect(fetch(one.url)).rejects.toThrow()
})

async function directoryOf(url: string): Promise<string> {
  const info = (await (await fetch(`${url}/admin/plugins/counter`)).json()) as { source: string }
  return info.source
}
