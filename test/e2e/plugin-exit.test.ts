/** A plugin in the gateway's thread that wants to end the process: it fails, and nothing ends. */
import { expect, test } from "bun:test"
import type { PluginInfo } from "../../src/plugin/plugin-info.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { waitFor } from "../support/wait.ts"

const leaver = (name: string, body: string, top = "") => `import { definePlugin } from "leapgate/plugin"
${top}
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "middleware",
  setup: () => ({ beforeHandle({ headers }) { ${body} } }),
})`

test("process.exit fails the call it is in, and the process serves on", async () => {
  const body = `if (headers.has("x-leave")) process.exit(0)`
  await using gateway = await startGateway({ plugins: { "leaver.ts": leaver("leaver", body) } })
  const pid = gateway.servingPid()
  const reply = await fetch(`${gateway.url}/v1/models`, { headers: { "x-leave": "1" } })
  expect(reply.status).toBe(200)
  expect(gateway.servingPid()).toBe(pid)
  const { metrics } = await infoOf(gateway, "leaver")
  expect(metrics.last_error?.message).toBe(
    "beforeHandle: process.exit(0) would end the gateway for all, and does nothing",
  )
})

test("process.exit where a file is read keeps that file from loading, at the start and later", async () => {
  const source = (name: string) => leaver(name, "", "process.exit(1)")
  await using gateway = await startGateway({ plugins: { "early.ts": source("early") } })
  const pid = gateway.servingPid()
  await gateway.writePlugin("late.ts", source("late"))
  for (const name of ["early", "late"]) {
    await waitFor(`the error of ${name}`, async () => {
      const { state, error } = await infoOf(gateway, name)
      return state === "error" && error?.message.includes("process.exit(1) would end the gateway")
    })
  }
  expect(gateway.servingPid()).toBe(pid)
})

test("process.exit in a timer is an error of the plugin, and no more", async () => {
  const timer = "setTimeout(() => process.exit(0), 1)"
  await using gateway = await startGateway({ plugins: { "leaver.ts": leaver("leaver", timer) } })
  const pid = gateway.servingPid()
  await fetch(`${gateway.url}/v1/models`)
  await waitFor("the error", async () => (await infoOf(gateway, "leaver")).metrics.errors === 1)
  expect(gateway.servingPid()).toBe(pid)
})

async function infoOf(gateway: RunningGateway, name: string): Promise<PluginInfo> {
  return (await (await fetch(`${gateway.adminUrl}/plugins/${name}`)).json()) as PluginInfo
}
