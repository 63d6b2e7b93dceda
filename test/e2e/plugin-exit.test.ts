/** A plugin in the gateway's thread that ends the process: it comes again, and says whose deed it was. */
import { expect, onTestFinished, test } from "bun:test"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startGateway } from "../support/gateway.ts"
import { waitFor } from "../support/wait.ts"

const leaver = (body: string, top = "") => `import { definePlugin } from "leapgate/plugin"
${top}
export default definePlugin({
  name: "leaver", version: "1.0.0", type: "middleware",
  setup: () => ({ beforeHandle({ headers }) { ${body} } }),
})`

test("a plugin that ends the process with the code of success ends one process, and not the gateway", async () => {
  const body = `if (headers.has("x-leave")) process.exit(0)`
  await using gateway = await startGateway({ plugins: { "leaver.ts": leaver(body) } })
  const first = gateway.servingPid()
  await fetch(`${gateway.url}/v1/models`, { headers: { "x-leave": "1" } }).catch(() => {})
  await waitFor("another process serves", async () => {
    const reply = await fetch(`${gateway.url}/v1/models`).catch(() => undefined)
    return reply?.status === 200 && gateway.servingPid() !== first
  })
  expect(gateway.logs()).toContain("a plugin called process.exit(0)")
  expect(gateway.logs()).toContain("plugins/leaver.ts:5:")
})

test("no command takes it for success", async () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "leapgate-exit-")))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  mkdirSync(join(directory, "plugins"))
  writeFileSync(join(directory, "plugins/leaver.ts"), leaver("", "process.exit(0)"))
  const program = join(import.meta.dir, "../../src/main.ts")
  const list = Bun.spawn([process.execPath, program, "plugin", "list"], {
    cwd: directory,
    stdio: ["ignore", "ignore", "pipe"],
  })
  expect(await list.stderr.text()).toContain("a plugin called process.exit(0)")
  expect(await list.exited).toBe(1)
})
