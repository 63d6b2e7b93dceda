/** Settings of plugins that are changed through the admin API: checked, written to config.yaml, and in use. */
import { afterEach, describe, expect, test } from "bun:test"
import { chmodSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { postChat } from "../support/chat.ts"
import { type GatewayOptions, type RunningGateway, startGateway } from "../support/gateway.ts"
import { waitFor } from "../support/wait.ts"

const CONFIG = `# my gateway
server: { host: 127.0.0.1, port: 0 } # any port

plugins:
  configs:
    # who is greeted
    greeter:
      priority: 60   # early
      config:
        greeting: "hi" # short
        name: \${NAME}
        tags: ["a", "b"]

telemetry:
  logs: { level: info } # the end
`

let gateway: RunningGateway

afterEach(() => gateway?.stop())

async function start(options: GatewayOptions = {}): Promise<RunningGateway> {
  gateway = await startGateway({
    config: CONFIG,
    env: { NAME: "Ada" },
    plugins: { "greeter.ts": greeter() },
    ...options,
  })
  return gateway
}

function configure(name: string, config: unknown): Promise<Response> {
  return fetch(`${gateway.adminUrl}/plugins/${name}/config`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ config }),
  })
}

const configFile = () => join(gateway.directory, "config.yaml")
const written = () => Bun.file(configFile()).text()

async function greeting(): Promise<string | null> {
  const response = await postChat(gateway.url, { model: "demo" })
  await response.text()
  return response.headers.get("x-greeting")
}

describe("a change of settings", () => {
  test("is in use with the next request, and in the file, where all else stays to the byte", async () => {
    await start()
    expect(await greeting()).toBe("hi Ada a,b")
    const response = await configure("greeter", { greeting: "hello", tags: ["c"], loud: true })
    expect(await response.json()).toEqual({ message: "plugin configured", name: "greeter" })
    expect(await greeting()).toBe("HELLO ADA C")
    expect(await written()).toBe(
      CONFIG.replace('"hi" # short', "hello # short").replace(
        'tags: ["a", "b"]\n',
        "tags: [c]\n        loud: true\n",
      ),
    )
  })

  test("by null takes a setting away, so that its default holds", async () => {
    await start()
    expect((await configure("greeter", { greeting: null })).status).toBe(200)
    expect(await greeting()).toBe("good day Ada a,b")
    expect(await written()).toBe(CONFIG.replace('        greeting: "hi" # short\n', ""))
  })

  test("may name a variable, which is written as it is and filled in", async () => {
    await start({ env: { NAME: "Ada", OTHER: "Bo" } })
    expect((await configure("greeter", { name: "$" + "{OTHER}" })).status).toBe(200)
    expect(await greeting()).toBe("hi Bo a,b")
    expect(await written()).toContain("        name: $" + "{OTHER}\n")
  })

  test("keeps the mode of the file", async () => {
    await start()
    chmodSync(configFile(), 0o640)
    expect((await configure("greeter", { greeting: "hey" })).status).toBe(200)
    expect(statSync(configFile()).mode & 0o777).toBe(0o640)
  })

  test("that is seen by the file watcher too is applied once, and what is saved after it as well", async () => {
    await start()
    expect((await configure("greeter", { greeting: "hey" })).status).toBe(200)
    const reloads = async () =>
      Number(
        /^leapgate_config_reloads_total\{outcome="success"\} (\d+)/m.exec(
          await (await fetch(`${gateway.url}/metrics`)).text(),
        )?.[1] ?? 0,
      )
    expect(await reloads()).toBe(1)
    writeFileSync(configFile(), `${await written()}# saved\n`)
    await waitFor("the watcher to see it", async () => (await reloads()) >= 2)
    expect(await reloads()).toBe(2)
    expect(await generation()).toBe(2)
    expect(await greeting()).toBe("hey Ada a,b")
  })

  test("without a config file makes one of the built-in text", async () => {
    await start({ config: null, plugins: {} })
    expect((await configure("example-provider", { max_retries: 1 })).status).toBe(200)
    const shipped = await Bun.file(join(import.meta.dir, "../../config.yaml")).text()
    expect(await written()).toBe(
      shipped.replace("max_retries: 3\n    rate-limiter", "max_retries: 1\n    rate-limiter"),
    )
  })

  test("of a bundled plugin that has no entry does not switch it on", async () => {
    await start()
    expect((await configure("rate-limiter", { max_requests: 7 })).status).toBe(200)
    expect(await written()).toContain(
      "    rate-limiter:\n      enabled: false\n      config:\n        max_requests: 7\n",
    )
    const info = (await (await fetch(`${gateway.adminUrl}/plugins/rate-limiter`)).json()) as { state: string }
    expect(info.state).toBe("loaded")
  })

  test("at the same time as others is made after them, and none is lost", async () => {
    await start()
    const changes = ["greeting", "name", "more", "tags"].map((key) =>
      configure("greeter", { [key]: key === "tags" ? [key] : key }),
    )
    expect((await Promise.all(changes)).map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(await greeting()).toBe("greeting name tagsmore")
  })
})

describe("the file and the plugin stay as they are where", () => {
  test("the settings are not valid, and all faults are told", async () => {
    await start()
    const response = await configure("greeter", { greeting: 5, loud: "very", speling: 1 })
    expect(response.status).toBe(422)
    const { error } = (await response.json()) as { error: { code: string; message: string } }
    expect(error.code).toBe("plugin_config_invalid")
    for (const part of [
      "config.greeting must be text",
      "config.loud must be true or false",
      "config.speling is unknown",
    ])
      expect(error.message).toContain(part)
    expect(await written()).toBe(CONFIG)
    expect(await greeting()).toBe("hi Ada a,b")
  })

  test("the plugin cannot be set up with them", async () => {
    await start()
    const response = await configure("greeter", { greeting: "refused" })
    expect(response.status).toBe(500)
    expect(await response.text()).toContain("this greeting is not liked")
    expect(await written()).toBe(CONFIG)
    expect(await greeting()).toBe("hi Ada a,b")
    const info = (await (await fetch(`${gateway.adminUrl}/plugins/greeter`)).json()) as object
    expect(info).toMatchObject({ state: "active", error: null, generation: 1 })
  })

  test("a variable has no end", async () => {
    await start()
    const response = await configure("greeter", { name: "$" + "{OPEN" })
    expect(response.status).toBe(422)
    expect(await written()).toBe(CONFIG)
  })

  test.each([
    ["there is no such plugin", "gretter", { greeting: "x" }, 404, "plugin_not_found"],
    ["they are no object", "greeter", [1], 400, "invalid_request"],
    ["they are missing", "greeter", undefined, 400, "invalid_request"],
  ])("%s", async (_, name, config, status, code) => {
    await start()
    const response = await configure(name, config)
    expect(response.status).toBe(status)
    expect(((await response.json()) as { error: { code: string } }).error.code).toBe(code)
    expect(await written()).toBe(CONFIG)
  })

  test("the body is no JSON, too large, or not declared as JSON", async () => {
    await start({ config: CONFIG.replace("port: 0 }", "port: 0, body_limit: 1KB }") })
    const post = (body: string, type: string) =>
      fetch(`${gateway.adminUrl}/plugins/greeter/config`, {
        method: "POST",
        headers: { "content-type": type },
        body,
      })
    expect((await post("{", "application/json")).status).toBe(400)
    expect((await post(" ".repeat(2000), "application/json")).status).toBe(413)
    expect((await post(`{"config":{}}`, "text/plain")).status).toBe(415)
    expect(
      (await post(`{"config":${'{"a":'.repeat(90)}1${"}".repeat(90)}}`, "application/json")).status,
    ).toBe(400)
  })

  test("the caller has no admin token", async () => {
    await start({ config: `${CONFIG}admin: { token: secret-token }\n` })
    expect((await configure("greeter", { greeting: "x" })).status).toBe(401)
    expect((await fetch(`${gateway.adminUrl}/plugins/greeter/schema`)).status).toBe(401)
  })
})

test("the schema of a plugin's settings is told", async () => {
  await start()
  const schema = async (name: string) => (await fetch(`${gateway.adminUrl}/plugins/${name}/schema`)).json()
  expect(await schema("greeter")).toMatchObject({
    plugin: "greeter",
    schema: { type: "object", properties: { greeting: { type: "string", default: "good day" } } },
  })
  await gateway.writePlugin(
    "plain.ts",
    greeter()
      .replace("greeter", "plain")
      .replace(/config: Type.*\n/, ""),
  )
  await waitFor("the plugin to be there", async () => {
    const response = await fetch(`${gateway.adminUrl}/plugins/plain/schema`)
    return response.status === 200 && Bun.deepEquals(await response.json(), { plugin: "plain", schema: null })
  })
  expect((await fetch(`${gateway.adminUrl}/plugins/nobody/schema`)).status).toBe(404)
})

async function generation(): Promise<number> {
  const text = await (await fetch(`${gateway.url}/metrics`)).text()
  return Number(/^leapgate_plugin_generation (\d+)/m.exec(text)?.[1])
}

function greeter(): string {
  return `import { definePlugin, Type } from "leapgate/plugin"

export default definePlugin({
  name: "greeter",
  version: "1.0.0",
  type: "middleware",
  config: Type.Object({ greeting: Type.String({ default: "good day" }), name: Type.String({ default: "" }), loud: Type.Boolean({ default: false }), more: Type.String({ default: "" }), tags: Type.Array(Type.String(), { default: [] }) }),
  setup({ config: { greeting, name, loud, more, tags } = {} }) {
    if (greeting === "refused") throw new Error("this greeting is not liked")
    const text = greeting + " " + name + " " + tags + more
    return {
      beforeHandle(context) {
        context.setHeader("x-greeting", loud ? text.toUpperCase() : text)
      },
    }
  },
})
`
}
