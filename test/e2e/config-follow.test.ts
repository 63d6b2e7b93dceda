/** The config file after it was changed by the gateway itself, and seen to change by who watches it. */
import { expect, test } from "bun:test"
import { definePlugin, Type } from "../../src/plugin/sdk.ts"
import { startTestGateway } from "../../src/testing/test-gateway.ts"

test("what is applied already is not applied again, however often it is seen to change", async () => {
  const greeter = definePlugin({
    name: "greeter",
    version: "1.0.0",
    type: "monitoring",
    config: Type.Object({ greeting: Type.String({ default: "hi" }) }),
    setup: () => ({}),
  })
  const { gateway, lines, stop } = await startTestGateway({
    config: { plugins: { configs: { greeter: {} } } },
    definitions: [greeter],
  })
  try {
    const reloads = () => lines.filter(({ message }) => message === "configuration reloaded").length
    await gateway.follow("the file has changed")
    expect(reloads()).toBe(0)
    const response = await fetch(`${gateway.adminUrl}/admin/plugins/greeter/config`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ config: { greeting: "hello" } }),
    })
    expect(response.status).toBe(200)
    const setUps = () => lines.filter(({ message }) => message === "plugin reloaded").length
    expect({ reloads: reloads(), setUps: setUps() }).toEqual({ reloads: 1, setUps: 1 })
    await gateway.follow("the file has changed")
    expect({ reloads: reloads(), setUps: setUps() }).toEqual({ reloads: 1, setUps: 1 })
    // Who asks for it has it read again.
    await gateway.reload("SIGHUP")
    expect({ reloads: reloads(), setUps: setUps() }).toEqual({ reloads: 2, setUps: 1 })
  } finally {
    await stop()
  }
})
