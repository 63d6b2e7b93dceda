/** Without keys and without a token only this machine is served, and pages of other origins are not. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { waitFor } from "../support/wait.ts"

describe("with neither keys nor a token", () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await startGateway({ config: {} })
  })
  afterAll(() => gateway?.stop())

  const statusOf = async (path: string, headers: Record<string, string>, method = "GET") =>
    (await fetch(`${gateway.url}${path}`, { method, headers })).status

  test.each(["/v1/models", "/admin/plugins"])("%s answers this machine, and no proxy", async (path) => {
    expect(await statusOf(path, {})).toBe(200)
    expect(await statusOf(path, { "x-forwarded-for": "192.0.2.1" })).toBe(403)
    expect(await statusOf(path, { forwarded: "for=192.0.2.1" })).toBe(403)
    expect(await statusOf(path, { host: "gateway.example" })).toBe(403)
  })

  test.each([
    [{ origin: "https://evil.example" }],
    [{ "sec-fetch-site": "cross-site" }],
    [{ "sec-fetch-site": "same-site" }],
    [{ origin: "null" }],
  ])("a page that sends %j cannot switch plugins off", async (headers) => {
    expect(await statusOf("/admin/plugins/example-provider/disable", headers, "POST")).toBe(403)
  })

  test("a page of the gateway's own origin may use the admin API", async () => {
    const headers = { origin: gateway.url, "sec-fetch-site": "same-origin" }
    expect(await statusOf("/admin/plugins", headers)).toBe(200)
  })
})

test("a reload that would leave an open address without keys is refused, and the keys stay", async () => {
  await using gateway = await startGateway({
    config: { server: { host: "0.0.0.0", port: 0 }, auth: { keys: [{ name: "dev", key: "a-secret-key" }] } },
  })
  const url = gateway.url.replace("0.0.0.0", "127.0.0.1")
  writeFileSync(join(gateway.directory, "config.yaml"), "server: { host: 0.0.0.0, port: 0 }\n")
  await waitFor("the reload to be refused", () => gateway.logs().includes("no API key is configured"))
  expect((await fetch(`${url}/v1/models`, { headers: { host: "localhost" } })).status).toBe(401)
  const headers = { authorization: "Bearer a-secret-key" }
  expect((await fetch(`${url}/v1/models`, { headers })).status).toBe(200)
})

test("admin.listen takes /admin and /metrics off the main address", async () => {
  await using gateway = await startGateway({ config: { admin: { listen: "127.0.0.1:0" } } })
  for (const path of ["/admin/plugins", "/metrics"]) {
    expect((await fetch(`${gateway.url}${path}`)).status, path).toBe(404)
  }
})
