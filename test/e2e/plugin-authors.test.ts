/** From nothing to a plugin that serves, with the command line and nothing else. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PLUGIN_TYPES } from "../../src/plugin/contract.ts"
import { askPlain } from "../support/chat.ts"
import { leapgate, startGateway } from "../support/gateway.ts"

let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "leapgate-authors-"))
  // From source the SDK is made when it is first asked for.
  await run("types")
}, 60_000)

afterAll(async () => {
  await rm(directory, { recursive: true })
})

describe.each(PLUGIN_TYPES.map((type) => [type] as const))("a new plugin of type %s", (type) => {
  const name = `my-${type}`

  test("is written, verified and tested", async () => {
    expect(await run("new", name, "--type", type)).toMatchObject({ exitCode: 0 })

    const verified = await run("verify", name)
    expect(verified.out).not.toMatch(/^[✗!]/m)
    expect(verified.out).toContain(`✓ ${name}: types fit`)
    expect(verified.exitCode).toBe(0)

    const tested = await run("test", name)
    expect(tested.err).toContain(" 0 fail")
    expect(tested.exitCode).toBe(0)
  }, 30_000)

  test("serves in a gateway", async () => {
    await using gateway = await startGateway({
      // An auth plugin would refuse those whom it does not know.
      config: { auth: { mode: "open" }, plugins: { configs: { "example-provider": {} } } },
      plugins: { [`${name}.ts`]: await Bun.file(join(directory, "plugins", `${name}.ts`)).text() },
    })
    const info = await (await fetch(`${gateway.adminUrl}/plugins/${name}`)).json()
    expect(info).toMatchObject({ type, state: "active", error: null })
    expect(await askPlain(gateway.url, "demo")).not.toBe("")
  }, 20_000)
})

describe("all of them together", () => {
  test("pass the compiler, their tests too", async () => {
    const { out, err, exitCode } = await bun("check")
    expect({ out, exitCode }).toEqual({ out: "", exitCode: 0 })
    expect(err).toContain(`No type errors in ${PLUGIN_TYPES.length * 2} files`)
  }, 30_000)

  test("pass their tests together, and a failing test fails the command", async () => {
    const tested = await run("test")
    expect(tested.err).toContain(`across ${PLUGIN_TYPES.length} files`)
    expect(tested.exitCode).toBe(0)

    await Bun.write(
      join(directory, "plugins/bad.test.ts"),
      'import { expect, test } from "bun:test"\ntest("fails", () => expect(1).toBe(2))\n',
    )
    expect((await run("test")).exitCode).toBe(1)
  }, 30_000)

  test("may be bundled, and serve as one file", async () => {
    expect(await run("build", "my-middleware", "--out", "one-file.mjs")).toMatchObject({ exitCode: 0 })
    const bundle = await Bun.file(join(directory, "one-file.mjs")).text()
    await using gateway = await startGateway({
      config: {
        plugins: { configs: { "example-provider": {}, "my-middleware": { config: { closes: 0 } } } },
      },
      plugins: { "my-middleware.mjs": bundle },
    })
    expect(askPlain(gateway.url, "demo")).rejects.toThrow("open from 0 to 0 o'clock UTC")
  }, 30_000)

  test("may be measured", async () => {
    const { out, exitCode } = await run("bench", "my-middleware", "--rounds", "1")
    expect(exitCode).toBe(0)
    expect(out).toMatch(/^beforeHandle +100 /m)
  }, 30_000)
})

test("a plugin and its test may use TypeBox and GatewayError of the gateway", async () => {
  await Bun.write(
    join(directory, "plugins/shared.ts"),
    `import { Type } from "@sinclair/typebox"
import { Value } from "@sinclair/typebox/value"
import { definePlugin, GatewayError } from "leapgate/plugin"
const Schema = Type.Object({ word: Type.String({ default: "no" }) })
export default definePlugin({
  name: "shared", version: "1.0.0", type: "middleware", config: Schema,
  setup: ({ config }) => ({
    beforeHandle() {
      if (Value.Check(Schema, config)) throw new GatewayError("request_rejected", config.word)
    },
  }),
})
`,
  )
  await Bun.write(
    join(directory, "plugins/shared.test.ts"),
    `import { expect, test } from "bun:test"
import { Type as TypeBox } from "@sinclair/typebox"
import { Type } from "leapgate/plugin"
import { testPlugin } from "leapgate/testing"
import shared from "./shared.ts"
test("one gateway, one TypeBox", async () => {
  expect(Type.String).toBe(TypeBox.String)
  await using app = await testPlugin(shared, { config: { word: "never" } })
  expect((await app.chat("hello")).error).toMatchObject({ code: "request_rejected", message: "never" })
})
`,
  )
  expect((await run("verify", "shared")).out).toContain("✓ shared: types fit")
  const tested = await run("test", "shared")
  expect(tested.err).toContain(" 1 pass")
  expect(tested.exitCode).toBe(0)
}, 30_000)

function run(...args: string[]) {
  return output([...leapgate(), "plugin", ...args], directory)
}

/** Bun itself, which is inside the binary too. */
function bun(...args: string[]) {
  const [executable = ""] = leapgate()
  return output([executable, ...args], join(directory, "plugins"), { BUN_BE_BUN: "1" })
}

async function output(command: string[], cwd: string, env: Readonly<Record<string, string>> = {}) {
  const child = Bun.spawn(command, {
    cwd,
    // Nothing of this machine helps: no path to another Bun, no settings.
    env: { HOME: directory, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { out, err, exitCode: child.exitCode }
}
