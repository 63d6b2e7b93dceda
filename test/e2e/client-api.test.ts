/** What the gateway answers to requests that are wrong, strange or too large. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { askPlain, errorOf, postChat } from "../support/chat.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { openRaw, rawRequest, sendRaw } from "../support/raw-http.ts"
import { answers } from "../support/upstream-scripts.ts"

const LIMIT_BYTES = 64 * 1024

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("good", answers(["fine"]))
  upstream.script("org/deep/model:free", answers(["deep"]))
  gateway = await startGateway({
    config: {
      server: { body_limit: "64KiB" },
      providers: [{ name: "up", base_url: upstream.url, models: ["good", "org/deep/model:free"] }],
    },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

const MESSAGES = [{ role: "user", content: "hi" }]

describe("a body that is no chat request is a 400 that says where", () => {
  test.each([
    ["nothing", ""],
    ["half of an object", '{"model": "good", "messages": ['],
    ["text behind the object", `${JSON.stringify({ model: "good", messages: MESSAGES })} x`],
    [
      "bytes that are not UTF-8",
      latin1('{"model": "good", "messages": [{"role": "user", "content": "\xfc"}]}'),
    ],
    ["single quotes", "{'model': 'good'}"],
    ["brackets, 30,000 deep", "[".repeat(30_000)],
    ["objects, 10,000 deep and cut off", '{"a":'.repeat(10_000)],
  ])("%s is invalid_json", async (_, body) => {
    const response = await postBody(body)
    expect(response.status).toBe(400)
    expect(await errorOf(response)).toMatchObject({ type: "invalid_request_error", code: "invalid_json" })
  })

  test.each([
    ["an array", []],
    ["null", null],
    ["a string", "model"],
    ["a number", 5],
  ])("%s is invalid_request", async (_, body) => {
    const response = await postBody(JSON.stringify(body))
    expect(response.status).toBe(400)
    expect(await errorOf(response)).toMatchObject({ code: "invalid_request" })
  })

  test.each([
    ["no model", { messages: MESSAGES }, "model"],
    ["a number as model", { model: 5, messages: MESSAGES }, "model"],
    ["null as model", { model: null, messages: MESSAGES }, "model"],
    ["an empty model", { model: "", messages: MESSAGES }, "model"],
    ["no messages", { model: "good" }, "messages"],
    ["a string as messages", { model: "good", messages: "hi" }, "messages"],
    ["a string as stream", { model: "good", messages: MESSAGES, stream: "yes" }, "stream"],
  ])("%s is invalid_request that names the field", async (_, body, param) => {
    const response = await postBody(JSON.stringify(body))
    expect(response.status).toBe(400)
    expect(await errorOf(response)).toMatchObject({ code: "invalid_request", param })
  })

  test("a key that is given twice means what JSON.parse says: the last one", async () => {
    const response = await postBody(
      '{"model": "no-such", "messages": [{"role":"user","content":"hi"}], "model": "good"}',
    )
    expect(response.status).toBe(200)
    expect(upstream.requests().at(-1)?.model).toBe("good")
  })

  test("names of JavaScript's own are just names", async () => {
    const body =
      '{"__proto__": {"model": "no-such"}, "constructor": 1, "model": "good", "messages": [{"role":"user","content":"hi"}]}'
    expect((await postBody(body)).status).toBe(200)
  })
})

describe("an unknown model", () => {
  test("is a 404 with a suggestion", async () => {
    const response = await postChat(gateway.url, { model: "goood" })
    expect(response.status).toBe(404)
    const error = await errorOf(response)
    expect(error).toMatchObject({ code: "model_not_found", param: "model" })
    expect(error.message).toContain('"good"')
  })

  test.each(["up/", "/good", "nobody/good", "__proto__", "constructor", "a\nb", "  "])(
    "named %p is a 404 too",
    async (model) => {
      expect((await postChat(gateway.url, { model })).status).toBe(404)
    },
  )

  test("with a very long name is refused without repeating all of it", async () => {
    const response = await postChat(gateway.url, { model: "x".repeat(10_000) })
    expect(response.status).toBeOneOf([400, 404])
    expect((await response.text()).length).toBeLessThan(2_000)
  })
})

describe("a body over the limit is a 413", () => {
  test("by its content-length", async () => {
    const response = await postBody(JSON.stringify({ model: "good", messages: "x".repeat(LIMIT_BYTES) }))
    expect(response.status).toBe(413)
    expect(await errorOf(response)).toMatchObject({ code: "body_too_large" })
  })

  test("by its content-length alone, before it was sent", async () => {
    const reply = await sendRaw(
      gateway.port,
      rawRequest("POST /v1/chat/completions", [...jsonHeaders(), ["content-length", "99999999999"]]),
    )
    expect(reply?.status).toBe(413)
  })

  test("in chunks", async () => {
    const connection = await openRaw(gateway.port)
    const head = rawRequest("POST /v1/chat/completions", [...jsonHeaders(), ["transfer-encoding", "chunked"]])
    connection.send(head)
    const part = `2000\r\n${"x".repeat(0x2000)}\r\n`
    for (let sent = 0; sent < 10; sent++) connection.send(part)
    expect((await connection.reply())?.status).toBe(413)
    connection.close()
  })

  test("and one just under it is answered", async () => {
    const content = "x".repeat(LIMIT_BYTES - 200)
    const response = await postBody(JSON.stringify({ model: "good", messages: [{ role: "user", content }] }))
    expect(response.status).toBe(200)
  })

  test("and one in chunks under it is answered", async () => {
    const body = JSON.stringify({ model: "good", messages: MESSAGES })
    const pieces = [body.slice(0, 7), body.slice(7)].map(
      (piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`,
    )
    const head = rawRequest("POST /v1/chat/completions", [...jsonHeaders(), ["transfer-encoding", "chunked"]])
    const reply = await sendRaw(gateway.port, `${head}${pieces.join("")}0\r\n\r\n`)
    expect(reply?.status).toBe(200)
  })
})

describe("methods, types and paths", () => {
  test.each([
    ["GET", "/v1/chat/completions", "POST"],
    ["PUT", "/v1/chat/completions", "POST"],
    ["DELETE", "/v1/models", "GET"],
    ["POST", "/v1/models/good", "GET"],
    ["DELETE", "/admin/plugins", "GET"],
  ])("%s %s is a 405 that allows %s", async (method, path, allowed) => {
    const response = await fetch(`${gateway.url}${path}`, { method })
    expect(response.status).toBe(405)
    expect(response.headers.get("allow")).toContain(allowed)
    expect(await errorOf(response)).toMatchObject({ code: "method_not_allowed" })
  })

  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonx",
  ])("content-type %s is a 415", async (type) => {
    const response = await postBody(JSON.stringify({ model: "good", messages: MESSAGES }), type)
    expect(response.status).toBe(415)
    expect(await errorOf(response)).toMatchObject({ code: "unsupported_media_type" })
  })

  test.each(["application/json; charset=utf-8", "Application/JSON"])(
    "content-type %s is taken",
    async (type) => {
      const response = await postBody(JSON.stringify({ model: "good", messages: MESSAGES }), type)
      expect(response.status).toBe(200)
    },
  )

  test.each(["/", "/v1", "/v1/nothing", "/admin/nothing", "/%00", "/v1/chat/completions/x"])(
    "GET %s is a 404 with an error body",
    async (path) => {
      const response = await fetch(`${gateway.url}${path}`)
      expect(response.status).toBe(404)
      expect(response.headers.get("content-type")).toStartWith("application/json")
      expect(await errorOf(response)).toMatchObject({ type: "invalid_request_error", code: "not_found" })
    },
  )
})

describe("models", () => {
  test("are listed with what serves them", async () => {
    const list = (await (await fetch(`${gateway.url}/v1/models`)).json()) as {
      object: string
      data: unknown[]
    }
    expect(list.object).toBe("list")
    expect(list.data).toContainEqual(expect.objectContaining({ id: "good", object: "model" }))
  })

  test.each(["org/deep/model:free", "org%2Fdeep%2Fmodel%3Afree", "up/good"])(
    "%s can be asked for by its id",
    async (id) => {
      const response = await fetch(`${gateway.url}/v1/models/${id}`)
      expect(response.status).toBe(200)
      expect(await response.json()).toMatchObject({ id: decodeURIComponent(id), object: "model" })
    },
  )

  test("that nobody serves are a 404 with a suggestion", async () => {
    const response = await fetch(`${gateway.url}/v1/models/goood`)
    expect(response.status).toBe(404)
    expect((await errorOf(response)).message).toContain('"good"')
  })
})

describe("request ids", () => {
  test("of the caller are kept where they are harmless", async () => {
    const response = await postChat(gateway.url, {
      model: "good",
      headers: { "x-request-id": "req-1.a:b_C" },
    })
    expect(response.headers.get("x-request-id")).toBe("req-1.a:b_C")
  })

  test.each([`"><script>alert(1)</script>`, "x".repeat(5_000), "a b", "ü", '{"a":1}'])(
    "like %p are replaced",
    async (id) => {
      const response = await postChat(gateway.url, { model: "good", headers: { "x-request-id": id } })
      expect(response.headers.get("x-request-id")).toMatch(/^[A-Za-z0-9._:-]{8,128}$/)
      expect(response.headers.get("x-request-id")).not.toBe(id)
    },
  )

  test("are on every error too", async () => {
    for (const path of ["/nothing", "/v1/models/none"]) {
      const response = await fetch(`${gateway.url}${path}`, { headers: { "x-request-id": "mine-123" } })
      expect(response.headers.get("x-request-id")).toBe("mine-123")
    }
  })
})

describe("what operators ask", () => {
  test("GET /health says that it lives, since when is now, and its version", async () => {
    const response = await fetch(`${gateway.url}/health`)
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({
      status: expect.any(String),
      timestamp: expect.any(String),
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    })
  })

  test("GET /ready is 200", async () => {
    expect((await fetch(`${gateway.url}/ready`)).status).toBe(200)
  })

  test("GET /metrics counts requests, and a caller's inventions make no new series", async () => {
    await askPlain(gateway.url, "good")
    const before = seriesCount(await metrics())
    for (let sent = 0; sent < 30; sent++) {
      await postChat(gateway.url, { model: `invented-${sent}`, headers: { "user-agent": `agent-${sent}` } })
      await fetch(`${gateway.url}/invented/${sent}`)
    }
    const text = await metrics()
    expect(text).toMatch(/^http_server_request_duration_seconds_count\{.*\} \d+$/m)
    expect(text).not.toContain("invented-29")
    expect(seriesCount(text)).toBeLessThan(before + 60)
  })

  test("GET /openapi.json describes the routes", async () => {
    const description = (await (await fetch(`${gateway.url}/openapi.json`)).json()) as {
      openapi: string
      paths: Record<string, unknown>
    }
    expect(description.openapi).toStartWith("3.")
    expect(Object.keys(description.paths)).toContain("/v1/chat/completions")
    expect(Object.keys(description.paths)).toContain("/admin/plugins")
  })
})

test("all of this cost nobody anything", async () => {
  expect(await askPlain(gateway.url, "good")).toBe("fine")
})

function postBody(body: string | Uint8Array, type = "application/json"): Promise<Response> {
  return fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": type },
    body,
  })
}

function latin1(text: string): Uint8Array {
  return Buffer.from(text, "latin1")
}

function jsonHeaders(): [string, string][] {
  return [
    ["host", `127.0.0.1:${gateway.port}`],
    ["content-type", "application/json"],
  ]
}

async function metrics(): Promise<string> {
  return await (await fetch(`${gateway.url}/metrics`)).text()
}

function seriesCount(text: string): number {
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length
}
