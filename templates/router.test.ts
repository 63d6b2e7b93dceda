import { expect, test } from "bun:test"
import { testPlugin } from "leapgate/testing"
import plugin from "./router.ts"

test("a caller on the list is sent to its provider", async () => {
  await using other = await testPlugin(plugin)
  await using app = await testPlugin(plugin, {
    config: { callers: { anonymous: "other/other-model" } },
    gateway: { providers: [{ name: "other", base_url: other.upstream.url, models: ["other-model"] }] },
  })
  await app.chat("hello")
  expect(app.upstream.requests).toEqual([])
  expect(other.upstream.requests).toMatchObject([{ body: { model: "other-model" } }])
  expect(app.logs).toMatchObject([{ message: "chosen", choice: "other/other-model" }])
})

test("nobody else is", async () => {
  await using app = await testPlugin(plugin, { config: { callers: { somebody: "other" } } })
  expect((await app.chat("hello")).status).toBe(200)
  expect(app.upstream.requests.length).toBe(1)
  expect(app.calls.map(({ hook }) => hook)).toEqual(["routeRequest"])
})
