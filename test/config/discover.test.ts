import { afterEach, describe, expect, test } from "bun:test"
import { discoverOllama, discoverProviders, KNOWN_PROVIDERS } from "../../src/config/discover.ts"

const servers: Bun.Server<undefined>[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop(true)
})

function ollama(reply: () => Response | Promise<Response>): string {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) =>
      new URL(request.url).pathname === "/api/tags" ? reply() : new Response("", { status: 404 }),
  })
  servers.push(server)
  return `127.0.0.1:${server.port}`
}

const installed = () =>
  Response.json({ models: [{ name: "llama3.2:latest", size: 1 }, { name: "qwen3:8b" }] })
const neverAborted = new AbortController().signal
const discover = (host: string, signal = neverAborted) =>
  discoverOllama({ env: { OLLAMA_HOST: host }, signal })

describe("providers of the environment", () => {
  test("each known variable brings its provider, with its key and the defaults", () => {
    for (const [name, { variable, baseUrl }] of Object.entries(KNOWN_PROVIDERS)) {
      const [found, ...more] = discoverProviders({ [variable]: "secret" })
      expect(more).toEqual([])
      expect(found).toMatchObject({
        name,
        base_url: baseUrl,
        api_key: "secret",
        type: "openai",
        timeout: { connect: 5000 },
      })
    }
  })

  test("no variable, or an empty one, brings none", () => {
    expect(discoverProviders({ GROQ_API_KEY: "", OPENAI_API_KEY: " ", HOME: "/root" })).toEqual([])
  })

  test("every address is https", () => {
    for (const { baseUrl } of Object.values(KNOWN_PROVIDERS)) expect(baseUrl).toStartWith("https://")
  })
})

describe("a local Ollama", () => {
  test("is found with its models", async () => {
    const host = ollama(installed)
    expect(await discover(host)).toMatchObject({
      name: "ollama",
      base_url: `http://${host}/v1`,
      api_key: "",
      models: ["llama3.2:latest", "qwen3:8b"],
    })
  })

  test("is found by a URL, and where the variable is the address that it binds to", async () => {
    const host = ollama(installed)
    const port = host.split(":")[1]
    const found = await Promise.all(
      [`http://${host}/`, `0.0.0.0:${port}`, `:${port}`].map((form) => discover(form)),
    )
    expect(found.map((provider) => provider?.base_url)).toEqual(Array(3).fill(`http://${host}/v1`))
  })

  test("without a port it is asked at its own one", async () => {
    const asked: string[] = []
    const fetch = Object.assign(
      async (url: string | URL | Request) => {
        asked.push(String(url))
        return installed()
      },
      { preconnect: () => {} },
    )
    for (const OLLAMA_HOST of [undefined, "box"]) {
      await discoverOllama({ env: { OLLAMA_HOST }, signal: neverAborted, fetch })
    }
    expect(asked).toEqual(["http://127.0.0.1:11434/api/tags", "http://box:11434/api/tags"])
  })

  test("one that does not answer is given up", async () => {
    const host = ollama(() => new Promise<Response>(() => {}))
    expect(await discover(host)).toBeUndefined()
  })

  test("is not asked any longer once the gateway stops", async () => {
    const host = ollama(installed)
    expect(await discover(host, AbortSignal.abort())).toBeUndefined()
  })

  test.each([
    ["no JSON", () => new Response("hello")],
    ["another JSON", () => Response.json({ models: [{ id: 1 }] })],
    ["an error", () => Response.json({ models: [] }, { status: 500 })],
    ["a redirect", () => Response.redirect("http://127.0.0.1:1/api/tags")],
  ])("something else that answers with %s is none", async (_, reply) => {
    expect(await discover(ollama(reply))).toBeUndefined()
  })

  test("nobody at that address is none", async () => {
    expect(await discover("127.0.0.1:1")).toBeUndefined()
    expect(await discover("not a host")).toBeUndefined()
  })
})
