import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import packageJson from "../../package.json" with { type: "json" }
import { Lines } from "../support/lines.ts"
import { endProcesses, isAlive, processTree } from "../support/process.ts"
import { waitFor, within } from "../support/wait.ts"

const MAIN = join(import.meta.dir, "../../src/main.ts")
const BIND = ["--host", "127.0.0.1", "--port", "0"]

let cwd: string
const started: number[] = []
const upstreams: Bun.Server<undefined>[] = []

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "leapgate-serve-"))
})

afterEach(async () => {
  await endProcesses(started.splice(0).flatMap(processTree), 2000)
  for (const upstream of upstreams.splice(0)) await upstream.stop(true)
  rmSync(cwd, { recursive: true })
})

const writeConfig = (text: string) => writeFileSync(join(cwd, "config.yaml"), text)

/** The real thing: `leapgate serve`, in a folder and an environment of its own. */
function leapgate(args: readonly string[], env: Record<string, string> = {}) {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    cwd,
    env: { PATH: process.env.PATH, HOME: cwd, TMPDIR: tmpdir(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  started.push(child.pid)
  return { child, out: new Lines(child.stdout), err: new Lines(child.stderr) }
}

async function serving(args: readonly string[] = BIND, env: Record<string, string> = {}) {
  const gateway = leapgate(["serve", ...args], env)
  const url = urlIn(await gateway.out.find("is ready on"))
  return { ...gateway, url, health: () => fetch(`${url}/health`) }
}

const urlIn = (line: string): string => line.slice(line.indexOf("http://"))

describe("a start", () => {
  test("says on one line where the gateway is, and it is there", async () => {
    const { out, health } = await serving()
    expect(out.all).toEqual([expect.stringMatching(/^LeapGate \S+ is ready on http:\/\/127\.0\.0\.1:\d+$/)])
    expect(await (await health()).json()).toMatchObject({ version: packageJson.version })
  })

  test("without a config and without a key answers the first request", async () => {
    const { url } = await serving()
    const models = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] }
    const reply = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: models.data[0]?.id, messages: [{ role: "user", content: "Hello" }] }),
    })
    expect(reply.status).toBe(200)
    expect(await reply.json()).toMatchObject({ choices: [{ message: { role: "assistant" } }] })
  })

  test("takes host and port from the command line first", async () => {
    writeConfig("server: { host: 203.0.113.1, port: 1 }")
    const { health } = await serving()
    expect((await health()).status).toBe(200)
  })

  test("fails with every fault of the config and exit code 1", async () => {
    writeConfig("server: { port: x }\nauth: { mode: shut }")
    const { child, out, err } = leapgate(["serve"])
    expect(await child.exited).toBe(1)
    await err.ended
    expect(err.all).toEqual([
      "error: config.yaml has 2 faults:",
      '  config.yaml:1:17 server.port must be an integer from 0 to 65535, got "x"',
      '  config.yaml:2:15 auth.mode must be one of: keys, open, got "shut"',
      "code: config_invalid",
    ])
    expect(out.all).toEqual([])
  })

  test("on a port that is taken fails and names it", async () => {
    const other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
    const { child, err } = leapgate(["serve", "--port", String(other.port)])
    expect(await child.exited).toBe(1)
    await err.ended
    other.stop(true)
    expect(err.all.join("\n")).toContain(String(other.port))
  })

  test("open to the network without a key is refused", async () => {
    const { child, err } = leapgate(["serve", "--host", "0.0.0.0", "--port", "0"])
    expect(await child.exited).toBe(1)
    await err.ended
    expect(err.all).toContain("code: bind_refused")
  })

  test("with a misspelt flag is refused with a suggestion and exit code 2", async () => {
    const { child, err } = leapgate(["serve", "--prot", "1"])
    expect(await child.exited).toBe(2)
    await err.ended
    expect(err.all).toEqual(["error: unknown option '--prot'", "(Did you mean --port?)"])
  })
})

describe("the end", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    test(`by ${signal} lets an open request finish, and the exit code is 0`, async () => {
      const { promise: asked, resolve: wasAsked } = Promise.withResolvers<void>()
      const { promise: gate, resolve: answer } = Promise.withResolvers<void>()
      const upstream = Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        async fetch() {
          wasAsked()
          await gate
          const message = { role: "assistant", content: "late but whole" }
          return Response.json({
            id: "1",
            object: "chat.completion",
            created: 1,
            model: "slow",
            choices: [{ index: 0, message, finish_reason: "stop" }],
          })
        },
      })
      upstreams.push(upstream)
      writeConfig(`providers: [{ name: up, base_url: "${upstream.url.origin}/v1", models: [slow] }]`)
      const { child, url, err } = await serving()
      const reply = fetch(`${url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "slow", messages: [{ role: "user", content: "?" }] }),
      })
      await within("the upstream to be asked", asked)
      child.kill(signal)
      await err.find("draining")
      answer()
      expect(await (await reply).json()).toMatchObject({
        choices: [{ message: { content: "late but whole" } }],
      })
      expect(await within("the process to end", child.exited)).toBe(0)
    })
  }

  test("takes the serving process along, also when only the supervisor is killed", async () => {
    const { child } = await serving()
    const [, ...servingPids] = processTree(child.pid)
    expect(servingPids).toHaveLength(1)
    child.kill("SIGKILL")
    await waitFor("the serving process to end", () => !servingPids.some(isAlive))
  })
})

describe("a crash", () => {
  test("of the serving process is followed by another one on the same port", async () => {
    const { child, url, out } = await serving(["--port", String(await freePort())])
    const [, servingPid] = processTree(child.pid)
    if (servingPid === undefined) throw new Error("there is no serving process")
    process.kill(servingPid, "SIGKILL")
    await out.find(`is ready on ${url}`, 2)
    expect((await fetch(`${url}/health`)).status).toBe(200)
  })
})

describe("without a supervisor", () => {
  const ALONE = [...BIND, "--no-supervisor"]

  test("there is one process, which warns that few upstream requests run at a time", async () => {
    const { child, err } = await serving(ALONE)
    expect(processTree(child.pid)).toEqual([child.pid])
    expect(JSON.parse(await err.find("BUN_CONFIG_MAX_HTTP_REQUESTS"))).toMatchObject({ level: "warn" })
  })

  test("there is no warning when the limit is set", async () => {
    const { child, err } = await serving(ALONE, { BUN_CONFIG_MAX_HTTP_REQUESTS: "1000" })
    child.kill("SIGTERM")
    expect(await child.exited).toBe(0)
    await err.ended
    expect(err.matching("BUN_CONFIG_MAX_HTTP_REQUESTS")).toEqual([])
  })
})

describe("a new config", () => {
  const accepts = async (url: string, key: string): Promise<boolean> => {
    const reply = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
    await reply.text()
    return reply.status === 200
  }

  test("applies as soon as the file is saved", async () => {
    writeConfig("auth: { keys: [{ name: app, key: first-key }] }")
    const { url } = await serving()
    expect(await accepts(url, "first-key")).toBe(true)
    writeConfig("auth: { keys: [{ name: app, key: second-key }] }")
    await waitFor("the second key to count", () => accepts(url, "second-key"))
    expect(await accepts(url, "first-key")).toBe(false)
  })

  test("applies when a config appears where there was none", async () => {
    const { url } = await serving()
    writeConfig("auth: { keys: [{ name: app, key: first-key }] }")
    await waitFor("the key to be asked for", async () => !(await accepts(url, "wrong-key")))
  })

  test("is read again on SIGHUP, with the files that it takes values from", async () => {
    writeConfig(`auth: { keys: [{ name: app, key: "\${file:key}" }] }`)
    writeFileSync(join(cwd, "key"), "first-key\n")
    const { url, child } = await serving()
    expect(await accepts(url, "first-key")).toBe(true)
    writeFileSync(join(cwd, "key"), "second-key\n")
    child.kill("SIGHUP")
    await waitFor("the second key to count", () => accepts(url, "second-key"))
    expect(await accepts(url, "first-key")).toBe(false)
  })

  test.each([
    ["is invalid", () => writeConfig("auth: { mode: shut }"), "config.yaml:1:15 auth.mode must be one of"],
    ["is gone", () => rmSync(join(cwd, "config.yaml")), "there is no such file"],
  ])("that %s changes nothing and is told in the log", async (_, change, message) => {
    writeConfig("auth: { keys: [{ name: app, key: first-key }] }")
    const { url, child, err } = await serving()
    change()
    child.kill("SIGHUP")
    expect(JSON.parse(await err.find(message))).toMatchObject({ level: "error" })
    expect(await accepts(url, "first-key")).toBe(true)
    expect(await accepts(url, "other-key")).toBe(false)
  })

  test("keeps what the command line said", async () => {
    writeConfig("server: { port: 1 }")
    const { url } = await serving()
    writeConfig("server: { port: 2 }\nauth: { keys: [{ name: app, key: first-key }] }")
    await waitFor("the key to be asked for", async () => !(await accepts(url, "wrong-key")))
    expect(await accepts(url, "first-key")).toBe(true)
  })
})

describe("the log", () => {
  test("is JSON lines on standard error, and holds no secret of the config", async () => {
    const key = "a-secret-that-looks-like-nothing"
    writeConfig(`
auth: { keys: [{ name: app, key: ${key} }] }
providers: [{ name: groq, base_url: "http://127.0.0.1:1/v1", api_key: "\${NOT_SET}" }]
telemetry: { logs: { level: debug } }
`)
    const { child, err } = await serving()
    child.kill("SIGTERM")
    await child.exited
    await err.ended
    const lines = err.all.map((line) => JSON.parse(line))
    expect(lines).toContainEqual(expect.objectContaining({ level: "warn", provider: "groq" }))
    expect(err.all.join("\n")).not.toContain(key)
  })
})

async function freePort(): Promise<number> {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  const { port } = listener
  listener.stop(true)
  return port
}
