/** Plain requests to providers that break, refuse, or answer oddly. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { askPlain, errorOf, postChat } from "../support/chat.ts"
import { errorBody } from "../support/completions.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { ODD_BUT_WHOLE_REPLIES, PLAIN_FAULTS } from "../support/hostile-faults.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { residentBytes } from "../support/process.ts"
import {
  answers,
  HOSTILE_WORDS,
  neverEndsItsReply,
  redirectsTo,
  refuses,
} from "../support/upstream-scripts.ts"

const HOSTILE_TEXT = HOSTILE_WORDS.join("")
const HEALTHY_TEXT = "bravo"
const PROVIDER_KEY = "sk-provider-key-that-must-not-travel"
const MIB = 2 ** 20

const faults = Object.keys(PLAIN_FAULTS)
const odd = Object.keys(ODD_BUT_WHOLE_REPLIES)
const transientStatuses = [408, 500, 502, 503, 504, 529]
const refusals = [400, 401, 403, 404, 413, 422, 429, ...transientStatuses]

let hostile: HostileUpstream
let healthy: HostileUpstream
let elsewhere: HostileUpstream
let gateway: RunningGateway
let firstServingPid: number

beforeAll(async () => {
  hostile = startHostileUpstream()
  healthy = startHostileUpstream()
  elsewhere = startHostileUpstream()
  healthy.script("good", answers([HEALTHY_TEXT]))
  for (const [name, script] of Object.entries(PLAIN_FAULTS)) hostile.script(slug(name), script)
  for (const [name, script] of Object.entries(ODD_BUT_WHOLE_REPLIES))
    hostile.script(`odd-${slug(name)}`, script)
  for (const status of refusals) hostile.script(`status-${status}`, refuses(status))
  hostile.script("status-html", refuses(502, { "content-type": "text/html" }, "<h1>Bad Gateway</h1>"))
  hostile.script("retry-soon", refuses(429, { "retry-after-ms": "20" }), answers())
  hostile.script("retry-late", refuses(429, { "retry-after": "37" }))
  hostile.script("redirect", redirectsTo(`${elsewhere.url}/chat/completions`))
  hostile.script("endless", neverEndsItsReply)
  gateway = await startGateway({ config: config() })
  firstServingPid = gateway.servingPid()
})

afterAll(async () => {
  await gateway?.stop()
  for (const upstream of [hostile, healthy, elsewhere]) upstream?.stop()
})

describe("a broken reply", () => {
  test.each(faults)("an upstream that %s is failed over", async (name) => {
    expect(await askPlain(gateway.url, withFailover(slug(name)))).toBe(HEALTHY_TEXT)
    expect(hostile.requests(slug(name)).length).toBeGreaterThanOrEqual(1)
  })

  test.each(faults)("an upstream that %s and has no stand-in is an HTTP error", async (name) => {
    const response = await postChat(gateway.url, { model: alone(slug(name)) })
    expect(response.status).toBeOneOf([502, 503, 504])
    const error = await errorOf(response)
    expect(error).toMatchObject({ type: "server_error", code: expect.stringMatching(/^upstream_/) })
    expect(error.message).toContain(slug(name))
    expect(await askPlain(gateway.url, "healthy/good")).toBe(HEALTHY_TEXT)
  })

  test("a reply that never ends is cut off, and its bytes are not kept", async () => {
    const residentBefore = residentBytes(gateway.servingPid())
    const response = await postChat(gateway.url, { model: alone("endless") })
    expect(response.status).toBeOneOf([502, 504])
    await response.body?.cancel()
    const grownBytes = residentBytes(gateway.servingPid()) - residentBefore
    expect(grownBytes).toBeLessThan(512 * MIB)
    expect(await askPlain(gateway.url, "healthy/good")).toBe(HEALTHY_TEXT)
  })
})

describe("an odd but whole reply", () => {
  test.each(odd)("a reply that %s arrives whole", async (name) => {
    expect(await askPlain(gateway.url, withFailover(`odd-${slug(name)}`))).toBe(HOSTILE_TEXT)
  })
})

describe("a refusal", () => {
  test.each(transientStatuses)("status %d is failed over, plain and streamed", async (status) => {
    const model = withFailover(`status-${status}`)
    expect(await askPlain(gateway.url, model)).toBe(HEALTHY_TEXT)
    const streamed = await postChat(gateway.url, { model, stream: true })
    expect(streamed.status).toBe(200)
    expect(await streamed.text()).toContain(HEALTHY_TEXT)
  })

  test("status 429 is failed over", async () => {
    expect(await askPlain(gateway.url, withFailover("status-429"))).toBe(HEALTHY_TEXT)
  })

  test.each([400, 413, 422])("status %d is the caller's fault: nobody else is asked", async (status) => {
    const askedBefore = healthy.requests().length
    const response = await postChat(gateway.url, { model: withFailover(`status-${status}`) })
    expect(response.status).toBe(status)
    const error = await errorOf(response)
    expect(error.type).toBe("invalid_request_error")
    expect(error.message).toContain(`upstream says ${status}`)
    expect(healthy.requests().length).toBe(askedBefore)
    expect(hostile.requests(`status-${status}`)).toHaveLength(1)
  })

  test.each([401, 403])(
    "status %d is the gateway's key refused, which the caller must not take for its own",
    async (status) => {
      const response = await postChat(gateway.url, { model: alone(`status-${status}`) })
      expect(response.status).toBe(502)
      const error = await errorOf(response)
      expect(error.code).toBe("upstream_auth_failed")
      expect(JSON.stringify(error)).not.toContain(PROVIDER_KEY)
    },
  )

  test.each([401, 403])("status %d of one provider does not stop another", async (status) => {
    expect(await askPlain(gateway.url, withFailover(`status-${status}`))).toBe(HEALTHY_TEXT)
  })

  test("a page from a proxy does not become the error's message", async () => {
    const response = await postChat(gateway.url, { model: alone("status-html") })
    expect(response.status).toBe(502)
    const error = await errorOf(response)
    expect(error.code).toBe("upstream_server_error")
    expect(error.message).not.toContain("<h1>")
  })

  test("a short retry-after is waited for", async () => {
    expect(await askPlain(gateway.url, alone("retry-soon"))).toBe(HOSTILE_TEXT)
    expect(hostile.requests("retry-soon")).toHaveLength(2)
  })

  test("a long retry-after reaches the caller", async () => {
    const response = await postChat(gateway.url, { model: alone("retry-late") })
    expect(response.status).toBe(429)
    expect(response.headers.get("retry-after")).toBe("37")
    expect(await errorOf(response)).toMatchObject({ type: "rate_limit_error", code: "upstream_rate_limited" })
  })
})

describe("a redirect", () => {
  test("to another origin is not followed, so that origin never sees the key or the prompt", async () => {
    const response = await postChat(gateway.url, { model: alone("redirect"), prompt: "a secret prompt" })
    expect(response.status).toBeOneOf([502, 503])
    expect(hostile.requests("redirect")[0]?.headers.get("authorization")).toBe(`Bearer ${PROVIDER_KEY}`)
    expect(elsewhere.requests()).toEqual([])
  })

  test("is failed over", async () => {
    expect(await askPlain(gateway.url, withFailover("redirect"))).toBe(HEALTHY_TEXT)
  })
})

describe("what an upstream is sent", () => {
  test("its own key and nobody's cookies, keys or connection headers", async () => {
    await postChat(gateway.url, {
      model: "healthy/good",
      headers: {
        authorization: "Bearer the-callers-key",
        "x-api-key": "the-callers-key",
        cookie: "session=1",
        connection: "x-secret",
        "x-secret": "1",
        "x-forwarded-for": "1.2.3.4",
      },
    })
    const headers = healthy.requests("good").at(-1)?.headers
    expect(headers?.get("authorization")).toBe(`Bearer ${PROVIDER_KEY}`)
    expect(JSON.stringify([...(headers ?? [])])).not.toContain("the-callers-key")
    for (const name of ["cookie", "x-api-key", "x-secret"]) expect(headers?.has(name)).toBe(false)
  })

  test("the provider's own model name, and every other byte of the body as it came", async () => {
    const body =
      '{ "x_future_field" : {"b":1,"a":[1.50,1e2]}, "model":"healthy/good",\n"messages":[{"role":"user","content":"gr\\u00fcn"}] }'
    await fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    })
    expect(healthy.requests("good").at(-1)?.body).toBe(body.replace('"healthy/good"', '"good"'))
  })
})

test("an upstream's error text cannot smuggle the provider's key to the caller", async () => {
  hostile.script("status-500", refuses(500, {}, errorBody(`invalid key ${PROVIDER_KEY}`)))
  const response = await postChat(gateway.url, { model: alone("status-500") })
  expect(await response.text()).not.toContain(PROVIDER_KEY)
})

test("one process served all of this", () => {
  expect(gateway.servingPid()).toBe(firstServingPid)
})

/** Each fault has a provider of its own, so that no breaker mixes them up. */
function config() {
  const impatient = { connect: "1s", first_token: "400ms", between_chunks: "400ms", total: "700ms" }
  const faulty = [...faults.map(slug), "endless"]
  const others = [
    ...odd.map((name) => `odd-${slug(name)}`),
    ...refusals.map((status) => `status-${status}`),
    ...["status-html", "retry-soon", "retry-late", "redirect"],
  ]
  const key = { api_key: PROVIDER_KEY }
  const providers = [
    ...faulty.map((name) => ({ name, base_url: hostile.url, models: [name], timeout: impatient, ...key })),
    ...others.map((name) => ({ name, base_url: hostile.url, models: [name], ...key })),
    { name: "healthy", base_url: healthy.url, models: ["good"], ...key },
  ]
  const aliases = [...faulty, ...others].map((name) => [withFailover(name), [alone(name), "healthy/good"]])
  return { providers, models: Object.fromEntries(aliases), routing: { max_retries: 1 } }
}

function slug(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "")
}

function alone(name: string): string {
  return `${name}/${name}`
}

function withFailover(name: string): string {
  return `backed-${name}`
}
