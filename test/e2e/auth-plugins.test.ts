/** Auth plugins on live traffic: who is let in, what they may use, and that whatever fails means no. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { stringify } from "yaml"
import { errorOf, postChat } from "../support/chat.ts"
import { type GatewayOptions, type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

const KEY = "lg-a-static-key"
const TOKEN = "an-admin-token"
const MODELS = ["good", "secret"]

let upstream: HostileUpstream

beforeAll(() => {
  upstream = startHostileUpstream()
  for (const model of MODELS) upstream.script(model, answers(["fine"]))
})

afterAll(() => upstream?.stop())

function start({ config, ...options }: GatewayOptions = {}): Promise<RunningGateway> {
  const providers = [{ name: "up", base_url: upstream.url, models: MODELS }]
  return startGateway({ config: { providers, ...(config as object) }, ...options })
}

function ask(gateway: RunningGateway, token?: string, model = "good"): Promise<Response> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return postChat(gateway.url, { model, headers })
}

async function outcomeOf(response: Response): Promise<string> {
  return response.status === 200 ? "200" : `${response.status} ${(await errorOf(response)).code}`
}

describe("authenticate", () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await start({
      config: {
        auth: { keys: [{ name: "ci", key: KEY }] },
        plugins: { configs: { broken: { timeout: "200ms" } } },
      },
      plugins: {
        "first.ts": authPlugin("first", 'if (token === "lg-ours") return person("ann")', "priority: 90,"),
        "second.ts": authPlugin(
          "second",
          'if (token === "lg-theirs") return person("bob"); if (token === "lg-ours") return person("eve")',
          "priority: 80,",
        ),
        "broken.ts": authPlugin("broken", DEEDS, "priority: 70,"),
        "echo.ts": ECHO,
      },
    })
  })
  afterAll(() => gateway?.stop())

  test.each([
    ["the first plugin that knows it", "lg-ours", "ann"],
    ["the next one where the first does not", "lg-theirs", "bob"],
  ])("a credential belongs to whom %s says", async (_, token, name) => {
    const response = await ask(gateway, token)
    expect(response.status).toBe(200)
    const principal = JSON.parse(response.headers.get("x-principal") ?? "")
    expect(principal).toEqual({
      name,
      via: "plugin",
      userId: `user-${name}`,
      roles: ["dev"],
      permissions: ["chat", `extra-${name}`],
      metadata: { team: { name: "a" } },
      isFrozen: true,
    })
  })

  test("a static key is known without asking the plugins", async () => {
    const asked = gateway.logs().split("asked first").length
    const response = await ask(gateway, KEY)
    expect(JSON.parse(response.headers.get("x-principal") ?? "")).toMatchObject({ name: "ci", via: "key" })
    expect(gateway.logs().split("asked first").length).toBe(asked)
  })

  test("a credential in x-api-key is offered too", async () => {
    const response = await postChat(gateway.url, { model: "good", headers: { "x-api-key": "lg-ours" } })
    expect(response.status).toBe(200)
  })

  test.each([
    ["that nobody knows", "lg-unknown", "401 invalid_api_key"],
    ["at which a plugin throws", "do-throw", "503 plugin_failed"],
    ["at which a plugin rejects", "do-reject", "503 plugin_failed"],
    ["at which a plugin hangs", "do-hang", "503 plugin_timeout"],
    ["for which a plugin returns null", "do-null", "503 plugin_failed"],
    ["for which a plugin returns true", "do-true", "503 plugin_failed"],
    ["for which a plugin returns a name only", "do-name", "503 plugin_failed"],
    ["for which a plugin returns roles that are no list", "do-roles", "503 plugin_failed"],
    ["for which a plugin returns functions as metadata", "do-metadata", "503 plugin_failed"],
    ["whose permissions a plugin cannot tell", "do-permissions", "503 plugin_failed"],
    ["that a plugin refuses", "do-refuse", "401 invalid_api_key"],
    ["that a plugin forbids", "do-forbid", "403 forbidden"],
    ["that has expired", "do-expired", "401 invalid_api_key"],
  ])("a credential %s is refused", async (_, token, outcome) => {
    expect(await outcomeOf(await ask(gateway, token))).toBe(outcome)
  })

  test("no credential at all is refused without asking the plugins, and so is one for /v1/models", async () => {
    expect(await outcomeOf(await ask(gateway))).toBe("401 invalid_api_key")
    expect((await fetch(`${gateway.url}/v1/models`)).status).toBe(401)
    const headers = { authorization: "Bearer lg-ours" }
    expect((await fetch(`${gateway.url}/v1/models`, { headers })).status).toBe(200)
  })

  test("a plugin hears that the client has left", async () => {
    const leaving = new AbortController()
    const reply = postChat(gateway.url, {
      model: "good",
      headers: { authorization: "Bearer do-listen" },
      signal: leaving.signal,
    }).catch(() => {})
    await waitFor("the plugin to be asked", () => gateway.logs().includes("is listening"))
    leaving.abort()
    await waitFor("the plugin to hear of it", () => gateway.logs().includes("heard an abort"))
    await reply
  })
})

describe("on_error of an auth plugin", () => {
  test.each(["open", "disable"])("may not be %s", async (onError) => {
    await using gateway = await start({
      config: { plugins: { configs: { lax: { on_error: onError } } } },
      plugins: { "lax.ts": authPlugin("lax", "") },
    })
    const info = await (await fetch(`${gateway.adminUrl}/plugins/lax`)).json()
    expect(info).toMatchObject({ state: "error", error: { code: "plugin_config_invalid" } })
    expect(JSON.stringify(info)).toContain("always mean")
    // It is enabled, so callers on this machine are not served as anonymous in its place.
    const refusal = await errorOf(await ask(gateway))
    expect(refusal).toMatchObject({ code: "invalid_api_key" })
    expect(refusal.message).toContain("not active")
  })
})

describe("without static keys", () => {
  test("callers on this machine need a credential where an auth plugin is enabled, and none where it is not", async () => {
    await using gateway = await start({
      plugins: { "only.ts": authPlugin("only", 'if (token === "lg-ours") return person("ann")') },
    })
    const refusal = await ask(gateway)
    expect(refusal.headers.get("www-authenticate")).toBe("Bearer")
    expect(await outcomeOf(refusal)).toBe("401 invalid_api_key")
    expect((await ask(gateway, "lg-ours")).status).toBe(200)

    await fetch(`${gateway.adminUrl}/plugins/only/disable`, { method: "POST" })
    expect((await ask(gateway)).status).toBe(200)
    await fetch(`${gateway.adminUrl}/plugins/only/enable`, { method: "POST" })
    expect(await outcomeOf(await ask(gateway))).toBe("401 invalid_api_key")
  })

  test("auth.mode: open serves a stranger as anonymous, and knows those whom a plugin knows", async () => {
    await using gateway = await start({
      config: { auth: { mode: "open" } },
      plugins: {
        "only.ts": authPlugin("only", `if (token === "lg-ours") return person("ann")\n${DEEDS}`),
        "echo.ts": ECHO,
      },
    })
    const nameOf = async (token?: string) =>
      JSON.parse((await ask(gateway, token)).headers.get("x-principal") ?? "").name
    expect(await nameOf()).toBe("anonymous")
    expect(await nameOf("lg-unknown")).toBe("anonymous")
    expect(await nameOf("lg-ours")).toBe("ann")
    expect(await outcomeOf(await ask(gateway, "do-refuse"))).toBe("401 invalid_api_key")
  })

  test("an address that others reach is opened for an auth plugin, and serves nobody when that goes", async () => {
    await using gateway = await start({
      config: { server: { host: "0.0.0.0", port: 0 }, admin: { token: TOKEN } },
      plugins: { "only.ts": authPlugin("only", 'if (token === "lg-ours") return person("ann")') },
    })
    const url = gateway.url.replace("0.0.0.0", "127.0.0.1")
    const models = async (headers: Record<string, string>) =>
      (await fetch(`${url}/v1/models`, { headers: { host: "localhost", ...headers } })).status
    expect(await models({ authorization: "Bearer lg-ours" })).toBe(200)
    expect(await models({})).toBe(401)
    await fetch(`${url}/admin/plugins/only/disable`, {
      method: "POST",
      headers: { authorization: `Bearer ${TOKEN}` },
    })
    // Anybody can send a Host of localhost to such an address.
    expect(await models({})).toBe(403)
    expect(await models({ authorization: "Bearer lg-ours" })).toBe(403)
  })

  test("an address that others reach is refused where the auth plugin cannot be loaded", async () => {
    const started = start({
      config: { server: { host: "0.0.0.0", port: 0 } },
      plugins: { "only.ts": authPlugin("only", "", "nonsense: 1,") },
    })
    await expect(started).rejects.toThrow("no auth plugin is active")
  })

  test("a reload that would take the last auth plugin off such an address is refused", async () => {
    await using gateway = await start({
      config: { server: { host: "0.0.0.0", port: 0 } },
      plugins: { "only.ts": authPlugin("only", 'if (token === "lg-ours") return person("ann")') },
    })
    const next = { server: { host: "0.0.0.0", port: 0 }, plugins: { configs: { only: { enabled: false } } } }
    writeFileSync(join(gateway.directory, "config.yaml"), stringify(next))
    await waitFor("the reload to be refused", () => gateway.logs().includes("no auth plugin is active"))
    const headers = { authorization: "Bearer lg-ours" }
    const url = gateway.url.replace("0.0.0.0", "127.0.0.1")
    expect((await fetch(`${url}/v1/models`, { headers })).status).toBe(200)
  })
})

describe("authorize", () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await start({
      config: {
        auth: { keys: [{ name: "ci", key: KEY }] },
        admin: { token: TOKEN },
        models: { alias: ["up/secret"] },
        plugins: { configs: { guard: { timeout: "200ms" } } },
      },
      plugins: {
        "names.ts": authPlugin("names", 'if (token.startsWith("lg-u-")) return person(token.slice(5))'),
        "guard.ts": GUARD,
        "second-guard.ts": SECOND_GUARD,
        "chooser.ts": CHOOSER,
      },
    })
  })
  afterAll(() => gateway?.stop())

  test.each([
    ["lg-u-ann", "good", "200"],
    ["lg-u-ann", "secret", "403 forbidden"],
    ["lg-u-ann", "alias", "403 forbidden"],
    ["lg-u-ann", "up/good", "403 forbidden"],
    [KEY, "good", "200"],
    [KEY, "secret", "403 forbidden"],
    ["lg-u-boss", "secret", "200"],
    ["lg-u-second", "good", "403 forbidden"],
    ["lg-u-throws", "good", "503 plugin_failed"],
    ["lg-u-hangs", "good", "503 plugin_timeout"],
    ["lg-u-truthy", "good", "503 plugin_failed"],
    ["lg-u-refused", "good", "403 forbidden"],
  ])("%s asking for %s gets %s", async (token, model, outcome) => {
    expect(await outcomeOf(await ask(gateway, token, model))).toBe(outcome)
  })

  test("the refusal names the caller and the model", async () => {
    const { message, param } = await errorOf(await ask(gateway, "lg-u-ann", "secret"))
    expect({ message, param }).toEqual({ message: '"ann" may not use the model "secret"', param: "model" })
  })

  test("the model is judged as the client named it, before a hook chooses another", async () => {
    const response = await postChat(gateway.url, {
      model: "good",
      headers: { authorization: "Bearer lg-u-ann", "x-choose": "secret" },
    })
    expect(response.status).toBe(200)
    expect(((await response.json()) as { model: string }).model).toBe("secret")
  })

  test("GET /v1/models shows what the caller may use, and nothing else", async () => {
    const idsFor = async (token: string) => {
      const reply = await fetch(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${token}` } })
      return ((await reply.json()) as { data: { id: string }[] }).data.map(({ id }) => id).toSorted()
    }
    expect(await idsFor("lg-u-ann")).toEqual(["good"])
    expect(await idsFor("lg-u-boss")).toEqual(["alias", "good", "secret"])
    expect(await idsFor("lg-u-refused")).toEqual([])
  })

  test("a model that the caller may not use is as if it were not there", async () => {
    const headers = { authorization: "Bearer lg-u-ann" }
    expect((await fetch(`${gateway.url}/v1/models/good`, { headers })).status).toBe(200)
    const hidden = await fetch(`${gateway.url}/v1/models/secret`, { headers })
    expect(hidden.status).toBe(404)
    const misspelt = await errorOf(await fetch(`${gateway.url}/v1/models/secrets`, { headers }))
    expect(misspelt.message).not.toContain('"secret"')
    const boss = { authorization: "Bearer lg-u-boss" }
    const helped = await errorOf(await fetch(`${gateway.url}/v1/models/secrets`, { headers: boss }))
    expect(helped.message).toContain('"secret"')
  })

  test("a list that a plugin cannot judge is an error, not a guess", async () => {
    const headers = { authorization: "Bearer lg-u-throws" }
    expect((await fetch(`${gateway.url}/v1/models`, { headers })).status).toBe(503)
  })

  describe("of the admin API", () => {
    const visit = (path: string, token: string, method = "GET") =>
      fetch(`${gateway.url}${path}`, { method, headers: { authorization: `Bearer ${token}` } })

    test.each([
      ["the admin token", TOKEN, "200", "200"],
      ["a principal that may do both", "lg-u-boss", "200", "200"],
      ["a principal that may read", "lg-u-reader", "200", "403 forbidden"],
      ["a principal that may nothing", "lg-u-ann", "403 forbidden", "403 forbidden"],
      ["a principal to whom one plugin says no", "lg-u-second", "403 forbidden", "403 forbidden"],
      ["a principal at whom a plugin throws", "lg-u-throws", "503 plugin_failed", "503 plugin_failed"],
      ["a static key", KEY, "401 admin_unauthorized", "401 admin_unauthorized"],
      ["an unknown credential", "lg-unknown", "401 admin_unauthorized", "401 admin_unauthorized"],
    ])("%s: reads and writes as it may", async (_, token, reads, writes) => {
      expect(await outcomeOf(await visit("/admin/plugins", token))).toBe(reads)
      expect(await outcomeOf(await visit("/admin/plugins/chooser/reload", token, "POST"))).toBe(writes)
    })

    test("the path is judged decoded, so that no spelling gets around a rule", async () => {
      expect((await visit("/admin/plugins/guard", "lg-u-reader")).status).toBe(403)
      expect((await visit("/admin/plugins/%67uard", "lg-u-reader")).status).toBe(403)
      expect((await visit("/admin/plugins/names", "lg-u-reader")).status).toBe(200)
    })
  })
})

test("without admin.token this machine is served, and so is whom a plugin lets in from elsewhere", async () => {
  await using gateway = await start({
    plugins: {
      "names.ts": authPlugin("names", 'if (token.startsWith("lg-u-")) return person(token.slice(5))'),
      "guard.ts": GUARD,
    },
  })
  const visit = async (headers: Record<string, string>) =>
    (await fetch(`${gateway.adminUrl}/plugins`, { headers })).status
  expect(await visit({})).toBe(200)
  // No plugin can lock the operator out.
  expect(await visit({ authorization: "Bearer lg-u-throws" })).toBe(200)
  const proxied = { "x-forwarded-for": "192.0.2.1" }
  expect(await visit(proxied)).toBe(403)
  expect(await visit({ ...proxied, authorization: "Bearer lg-u-ann" })).toBe(403)
  expect(await visit({ ...proxied, authorization: "Bearer lg-u-boss" })).toBe(200)
})

test("a plugin that knows callers but guards nothing opens no admin API", async () => {
  await using gateway = await start({
    config: { admin: { token: TOKEN } },
    plugins: { "names.ts": authPlugin("names", 'return person("ann")') },
  })
  const headers = { authorization: "Bearer anything" }
  expect((await fetch(`${gateway.adminUrl}/plugins`, { headers })).status).toBe(401)
  expect((await ask(gateway, "anything", "secret")).status).toBe(200)
})

function authPlugin(name: string, body: string, abilities = ""): string {
  return `import { definePlugin, GatewayError } from "leapgate/plugin"
const person = (name, more = {}) => ({
  name, via: "key", userId: "user-" + name, roles: ["dev"], permissions: ["chat"],
  metadata: { team: { name: "a" } }, ...more,
})
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "auth",
  setup: ({ log }) => ({
    ${abilities}
    async authenticate(token, { signal }) {
      log.info("asked ${name}")
      ${body}
    },
    permissions(userId) {
      if (userId === "user-nobody") throw new Error("no such user")
      return ["extra-" + userId.slice(5), "chat"]
    },
  }),
})`
}

const DEEDS = `switch (token) {
  case "do-throw": case "do-reject": throw new Error("a fault of the plugin's")
  case "do-hang": return new Promise(() => {})
  case "do-null": return null
  case "do-true": return true
  case "do-name": return { name: "ann" }
  case "do-roles": return person("ann", { roles: "admin" })
  case "do-metadata": return person("ann", { metadata: { fn() {} } })
  case "do-permissions": return person("nobody")
  case "do-refuse": throw new GatewayError("invalid_api_key", "that one was revoked")
  case "do-forbid": throw new GatewayError("forbidden", "not you")
  case "do-expired": return person("ann", { expiresAtMs: Date.now() - 1 })
  case "do-listen":
    log.info("is listening")
    signal.addEventListener("abort", () => log.info("heard an abort"))
    return new Promise(() => {})
}`

/** Tells who the principal is in a reply header. */
const ECHO = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "echo", version: "1.0.0", type: "middleware",
  setup: () => ({
    beforeHandle({ principal, setHeader }) {
      const { roles, permissions, metadata } = principal
      const isFrozen = [principal, roles, permissions, metadata].every(Object.isFrozen)
      setHeader("x-principal", JSON.stringify({ ...principal, isFrozen }))
    },
  }),
})`

const GUARD = `import { definePlugin, GatewayError } from "leapgate/plugin"
export default definePlugin({
  name: "guard", version: "1.0.0", type: "auth",
  setup: () => ({
    authenticate: () => undefined,
    authorize({ name }, action, resource) {
      if (name === "throws") throw new Error("a fault of the guard's")
      if (name === "hangs") return new Promise(() => {})
      if (name === "truthy") return "yes"
      if (name === "refused") throw new GatewayError("forbidden", "you never")
      if (name === "boss") return true
      if (action === "model.use") return resource === "good"
      if (action === "admin.read") return name === "second" || (name === "reader" && resource !== "/admin/plugins/guard")
      return name === "second"
    },
  }),
})`

const SECOND_GUARD = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "second-guard", version: "1.0.0", type: "auth",
  setup: () => ({ authenticate: () => undefined, authorize: async ({ name }) => name !== "second" }),
})`

const CHOOSER = `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "chooser", version: "1.0.0", type: "middleware",
  setup: () => ({
    hooks: {
      onRequest({ headers }) {
        const model = headers.get("x-choose")
        if (model !== null) return { model }
      },
    },
  }),
})`
