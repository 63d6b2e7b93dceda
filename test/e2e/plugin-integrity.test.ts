/** What is locked, installed and removed while a gateway runs. */
import { expect, test } from "bun:test"
import { join } from "node:path"
import { pluginText } from "../plugin/fixtures.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { startNpmRegistry } from "../support/npm-registry.ts"
import { runCommand } from "../support/terminal.ts"
import { waitFor } from "../support/wait.ts"

interface Told {
  readonly state: string
  readonly version: string | null
  readonly error: { readonly code: string; readonly message: string } | null
  readonly integrity: { readonly sha256: string | null; readonly locked: boolean | null }
}

async function told({ adminUrl }: RunningGateway, name: string): Promise<Told | undefined> {
  const response = await fetch(`${adminUrl}/plugins/${name}`)
  return response.ok ? ((await response.json()) as Told) : undefined
}

/** A command in the gateway's own folder. */
function run({ directory }: RunningGateway, args: readonly string[], env = {}) {
  return runCommand(["plugin", ...args, "--config", join(directory, "config.yaml")], { cwd: directory, env })
}

test("under a lock a changed plugin goes live when it is accepted, and not before", async () => {
  const mark = (version: string) => pluginText({ name: "mark", version })
  await using gateway = await startGateway({
    config: { plugins: { locked: true } },
    plugins: { "mark.ts": mark("1.0.0") },
  })
  expect((await told(gateway, "mark"))?.error?.message).toContain("plugins.lock is missing")
  await run(gateway, ["lock"])
  await waitFor("the lock to be seen", async () => (await told(gateway, "mark"))?.state === "active")
  const before = (await told(gateway, "mark"))?.integrity
  expect(before?.locked).toBe(true)

  await gateway.writePlugin("mark.ts", mark("2.0.0"))
  await waitFor("the change to be refused", async () => (await told(gateway, "mark"))?.error !== null)
  expect(await told(gateway, "mark")).toMatchObject({
    state: "active",
    version: "1.0.0",
    error: { code: "plugin_integrity" },
    integrity: before,
  })

  await run(gateway, ["lock", "mark"])
  await waitFor("the change to be live", async () => (await told(gateway, "mark"))?.version === "2.0.0")
  expect((await told(gateway, "mark"))?.error).toBe(null)
  expect(gateway.logs().split("no plugin of the directory loads")).toHaveLength(2)
})

test("a package that is installed goes live, is updated, and goes when it is removed", async () => {
  const transpiler = new Bun.Transpiler({ loader: "ts" })
  const published = (version: string) => ({
    name: "leapgate-plugin-mark",
    version,
    files: { "index.js": transpiler.transformSync(pluginText({ name: "mark", version })) },
  })
  await using registry = await startNpmRegistry([published("1.0.0"), published("1.1.0")])
  await using gateway = await startGateway()
  expect((await run(gateway, ["install", "leapgate-plugin-mark@1.0.0"], registry.env)).err).toBe("")
  await waitFor("the package to be live", async () => (await told(gateway, "mark"))?.version === "1.0.0")
  await run(gateway, ["install", "leapgate-plugin-mark"], registry.env)
  await waitFor("the update to be live", async () => (await told(gateway, "mark"))?.version === "1.1.0")
  await run(gateway, ["remove", "mark"], registry.env)
  await waitFor("the package to be gone", async () => (await told(gateway, "mark")) === undefined)
})
