import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { runCommand } from "../support/terminal.ts"

let cwd: string
const closers: (() => unknown)[] = []

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "leapgate-doctor-"))
})

afterEach(async () => {
  for (const close of closers.splice(0)) await close()
  rmSync(cwd, { recursive: true })
})

function listener(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  closers.push(() => server.stop(true))
  return server.port
}

/** The lines of `leapgate doctor`, and its exit code. */
async function doctor(config: string, env: Record<string, string> = {}) {
  writeFileSync(join(cwd, "config.yaml"), config)
  const { exitCode, out, err } = await runCommand(["doctor"], { cwd, env })
  expect(err).toBe("")
  const lines = out.split("\n")
  return { exitCode, lines, line: (text: string) => lines.find((line) => line.includes(text)) ?? "" }
}

const ANY_PORT = "server: { port: 0 }\n"

test("a sound machine and config have no cross, and the exit code is 0", async () => {
  mkdirSync(join(cwd, "plugins"))
  const upstream = listener()
  const { exitCode, lines } = await doctor(
    `${ANY_PORT}providers: [{ name: up, base_url: "http://127.0.0.1:${upstream}/v1" }]`,
  )
  expect(lines.filter((line) => line.startsWith("✗"))).toEqual([])
  expect(lines).toContain(`✓ Bun ${Bun.version}`)
  expect(lines).toContain(`✓ config: ${join(cwd, "config.yaml")} is valid`)
  expect(lines).toContain(`✓ provider up: 127.0.0.1:${upstream} accepts connections`)
  expect(exitCode).toBe(0)
})

test("an invalid config is shown with its faults; the machine is looked at all the same", async () => {
  const { exitCode, lines } = await doctor("server: { port: x }")
  expect(exitCode).toBe(1)
  expect(lines).toContain("✗ config: config.yaml has a fault:")
  expect(lines).toContain('    config.yaml:1:17 server.port must be an integer from 0 to 65535, got "x"')
  expect(lines[0]).toStartWith("✓ Bun")
})

describe("upstream requests", () => {
  test.each([
    [{}, "✓"],
    [{ BUN_CONFIG_MAX_HTTP_REQUESTS: "65535" }, "✓"],
    [{ BUN_CONFIG_MAX_HTTP_REQUESTS: "256" }, "!"],
    [{ BUN_CONFIG_MAX_HTTP_REQUESTS: "65536" }, "✗"],
    [{ BUN_CONFIG_MAX_HTTP_REQUESTS: "many" }, "✗"],
  ])("%j is marked %s", async (env, mark) => {
    expect((await doctor(ANY_PORT, env)).line("BUN_CONFIG_MAX_HTTP_REQUESTS")).toStartWith(mark)
  })
})

describe("access", () => {
  test.each([
    ["server: { port: 0 }", "✓ access: callers on this machine, without a key"],
    ["server: { port: 0, host: 0.0.0.0 }", "✗ access: server.host is 0.0.0.0"],
    ["server: { port: 0, host: 0.0.0.0 }\nauth: { mode: open }", "! access: auth.mode is open"],
    [
      "server: { port: 0, host: 0.0.0.0 }\nauth: { keys: [{ name: a, key: b }] }",
      "✓ access: whoever has one of 1 keys",
    ],
  ])("%j", async (config, expected) => {
    expect((await doctor(config)).line("access:")).toStartWith(expected)
  })

  test("an auth plugin that loads opens an address that others reach, and one that does not load does not", async () => {
    const config =
      "server: { port: 0, host: 0.0.0.0 }\nplugins: { configs: { jwt-auth: { config: CONFIG } } }"
    const sound = await doctor(config.replace("CONFIG", "{ jwks_url: https://id.example.com/jwks }"))
    expect(sound.line("access:")).toBe("✓ access: whoever plugin jwt-auth knows, from anywhere")
    const broken = await doctor(config.replace("CONFIG", "{ jwks_url: nonsense }"))
    expect(broken.line("access:")).toStartWith("✗ access: server.host is 0.0.0.0")
    const lax = await doctor(config.replace("config: CONFIG", "on_error: open"))
    expect(lax.line("plugin jwt-auth:")).toContain('on_error is "open"')
  })
})

describe("the ports", () => {
  test("one that is free is good", async () => {
    const port = listener()
    await closers.pop()?.()
    expect((await doctor(`server: { port: ${port} }`)).line("port:")).toBe(
      `✓ port: 127.0.0.1:${port} is free`,
    )
  })

  test("one that something else uses is bad", async () => {
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("hello") })
    closers.push(() => server.stop(true))
    const { exitCode, line } = await doctor(`server: { port: ${server.port} }`)
    expect(line("port:")).toStartWith(`✗ port: 127.0.0.1:${server.port} cannot be used`)
    expect(exitCode).toBe(1)
  })

  test("one that a running LeapGate uses is no fault", async () => {
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => Response.json({ status: "ok", version: "9.9.9" }),
    })
    closers.push(() => server.stop(true))
    const { line } = await doctor(`server: { port: ${server.port} }`)
    expect(line("port:")).toBe(`! port: LeapGate 9.9.9 serves on 127.0.0.1:${server.port} already`)
  })

  test("the admin API's own one is looked at too", async () => {
    const port = listener()
    const { line } = await doctor(`${ANY_PORT}admin: { listen: "127.0.0.1:${port}" }`)
    expect(line(`127.0.0.1:${port}`)).toStartWith("✗ port:")
  })
})

describe("plugins", () => {
  test("a folder that is not there is a doubt, one that cannot be read a fault", async () => {
    expect((await doctor(ANY_PORT)).line("does not exist")).toStartWith("! plugins:")
    writeFileSync(join(cwd, "plugins"), "a file")
    const { exitCode, line } = await doctor(ANY_PORT)
    expect(line("cannot be read")).toStartWith("✗ plugins:")
    expect(exitCode).toBe(1)
  })

  test("one that does not load is a fault", async () => {
    mkdirSync(join(cwd, "plugins"))
    writeFileSync(join(cwd, "plugins/broken.ts"), "export default {{{")
    const { exitCode, lines } = await doctor(ANY_PORT)
    expect(lines.filter((line) => line.startsWith("✗ plugin broken"))).toHaveLength(1)
    expect(lines.filter((line) => line.startsWith("✓ plugin rate-limiter"))).toHaveLength(1)
    expect(exitCode).toBe(1)
  })
})

describe("providers", () => {
  test("one that nobody answers for is a fault", async () => {
    const { exitCode, line } = await doctor(
      `${ANY_PORT}providers: [{ name: up, base_url: "http://127.0.0.1:1/v1" }]`,
    )
    expect(line("provider up")).toStartWith("✗ provider up: 127.0.0.1:1 cannot be reached")
    expect(exitCode).toBe(1)
  })

  test("one that is left out is a doubt with its reason", async () => {
    const { line } = await doctor(
      `${ANY_PORT}providers: [{ name: up, base_url: "http://127.0.0.1:1/v1", api_key: "\${UP_KEY}" }]`,
    )
    expect(line("left out")).toBe('! config: provider "up" is left out: UP_KEY is not set')
  })
})

test("a machine without a shell is looked at all the same", async () => {
  writeFileSync(join(cwd, "config.yaml"), ANY_PORT)
  const program = join(import.meta.dir, "../../src/main.ts")
  const { stdout } = Bun.spawn([process.execPath, program, "doctor"], {
    cwd,
    env: { PATH: cwd },
    stderr: "ignore",
  })
  const out = await stdout.text()
  expect(out).toContain("! how many files may be open at a time is not known")
  expect(out).toContain("is valid")
})
