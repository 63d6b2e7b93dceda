// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the config has variables of its own
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parse } from "yaml"
import { loadConfig } from "../../src/config/load.ts"
import { runCommand } from "../support/terminal.ts"

let cwd: string

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "leapgate-cli-"))
})

afterEach(() => rmSync(cwd, { recursive: true }))

const write = (text: string) => writeFileSync(join(cwd, "config.yaml"), text)

describe("config check", () => {
  test("says that a config is valid, and warns of what it leaves out", async () => {
    write("providers: [{ name: groq, base_url: 'http://a', api_key: '${GROQ_KEY}' }]")
    expect(await runCommand(["config", "check"], { cwd })).toEqual({
      exitCode: 0,
      out: `warning: provider "groq" is left out: GROQ_KEY is not set\n${join(cwd, "config.yaml")} is valid`,
      err: "",
    })
  })

  test("says so when there is no config to check", async () => {
    const { exitCode, out } = await runCommand(["config", "check"], { cwd })
    expect(exitCode).toBe(0)
    expect(out).toContain("no config.yaml here")
  })

  test("lists every fault on standard error, with the error's code, and fails", async () => {
    write("server: { port: x }\nauth: { mode: shut }")
    const { exitCode, out, err } = await runCommand(["config", "check"], { cwd })
    expect(exitCode).toBe(1)
    expect(out).toBe("")
    expect(err).toBe(
      [
        "error: config.yaml has 2 faults:",
        '  config.yaml:1:17 server.port must be an integer from 0 to 65535, got "x"',
        '  config.yaml:2:15 auth.mode must be one of: keys, open, got "shut"',
        "code: config_invalid",
      ].join("\n"),
    )
  })

  test("reads the file that --config names", async () => {
    writeFileSync(join(cwd, "other.yaml"), "nothing: 1")
    const { exitCode, err } = await runCommand(["config", "check", "--config", "other.yaml"], { cwd })
    expect(exitCode).toBe(1)
    expect(err).toContain("other.yaml:1:1 nothing is not a known key")
  })
})

describe("config print", () => {
  test("prints a config that means the same when it is read again", async () => {
    write(
      "server: { port: 9000, drain_timeout: 90s }\nproviders: [{ name: a, base_url: 'http://a', models: [x] }]",
    )
    const { out } = await runCommand(["config", "print"], { cwd })
    const read = (text: string) => loadConfig({ path: "config.yaml", text, env: {}, cwd }).config
    expect(read(out)).toEqual(loadConfig({ env: {}, cwd }).config)
    expect(parse(out)).toMatchObject({ server: { drain_timeout: "90s", body_limit: "32MiB" } })
  })

  test("shows no secret", async () => {
    write(`
auth: { keys: [{ name: app, key: secret-1 }] }
admin: { token: secret-2 }
providers:
  - { name: a, base_url: "https://me:secret-3@host/v1", api_key: secret-4, headers: { X-Team: secret-5 } }
plugins: { configs: { geo: { config: { apiKey: secret-6, tokens: [secret-7], nested: { password: secret-8 } } } } }
`)
    const { out } = await runCommand(["config", "print"], { cwd })
    expect(out).not.toContain("secret-")
    expect(parse(out)).toMatchObject({
      auth: { keys: [{ name: "app", key: "***" }] },
      admin: { token: "***" },
      providers: [{ base_url: "https://***@host/v1", api_key: "***", headers: { "X-Team": "***" } }],
    })
  })

  test("shows that a secret is not set", async () => {
    const { out } = await runCommand(["config", "print"], { cwd })
    expect(parse(out)).toMatchObject({ admin: { token: "" } })
  })
})
