/** The pages about the HTTP and the admin API: their routes, fields and the event that ends a broken stream. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { streamedAnswer } from "../support/completions.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readStream } from "../support/streamed-reply.ts"
import { chunked, streamHead } from "../support/wire.ts"
import { codeRows, readPage, sectionOf } from "./page.ts"

const http = await readPage("docs/reference/http-api.md")
const admin = await readPage("docs/reference/admin-api.md")

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("breaks", async ({ write, go, reset }) => {
    await write(streamHead() + streamedAnswer("breaks", ["one "]).slice(0, 2).map(chunked).join(""))
    await go()
    reset()
  })
  gateway = await startGateway({
    config: { providers: [{ name: "up", base_url: upstream.url, models: ["breaks"] }] },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

test("the pages have the routes of /openapi.json, and no others", async () => {
  const { paths } = (await (await fetch(`${gateway.url}/openapi.json`)).json()) as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  }
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`),
  )
  const documented = [http, admin].flatMap(({ text }) =>
    [...text.matchAll(/^## ((?:GET|POST|PUT|DELETE) .+)$/gm)].map(([, route = ""]) => route),
  )
  expect(documented.toSorted()).toEqual(described.toSorted())
})

test("every route of the pages is there", async () => {
  for (const { text } of [http, admin]) {
    for (const [, method = "", path = ""] of text.matchAll(/^## (GET|POST) (\S+)$/gm)) {
      const response = await fetch(gateway.url + path.replace(/:\w+/, "some-name"), { method })
      const body = await response.text()
      expect({ method, path, body }).not.toMatchObject({ body: expect.stringContaining('"not_found"') })
      expect(response.status).not.toBe(405)
    }
  }
})

test("the fields of a plugin are those of the page", async () => {
  const { plugins } = (await (await fetch(`${gateway.adminUrl}/plugins`)).json()) as {
    readonly plugins: readonly object[]
  }
  const documented = codeRows(sectionOf(admin.text, "GET /admin/plugins")).map(([field]) => field)
  expect(documented).toEqual(Object.keys(plugins[0] ?? {}))
})

test("a stream that breaks ends with the event of the page", async () => {
  const [, shown = ""] = /^data: (\{"error".+)$/m.exec(http.text) ?? []
  const reader = readStream(await postChat(gateway.url, { model: "breaks", stream: true }))
  await reader.untilText()
  upstream.proceed("breaks")
  const { error, isDone, end } = await reader.rest()
  expect({ error, isDone, end }).toEqual({ ...JSON.parse(shown), isDone: false, end: "clean" })
})
