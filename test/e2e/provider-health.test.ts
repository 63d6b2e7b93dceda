/** Provider plugins that say how they are and which models they have, and what the gateway makes of it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { join } from "node:path"
import { askPlain, postChat } from "../support/chat.ts"
import { postEmbeddings } from "../support/embeddings.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { waitFor } from "../support/wait.ts"

let gateway: RunningGateway

beforeAll(async () => {
  gateway = await startGateway({
    config: {
      models: { preferred: ["flaky/m", "steady/m"] },
      routing: { health_check_interval: "100ms", max_retries: 1 },
      plugins: { configs: { hanging: { timeout: "60s" } } },
    },
    plugins: {
      "flaky.ts": provider("flaky", CHECKS_A_FILE),
      "steady.ts": provider("steady", ""),
      "hanging.ts": provider(
        "hanging",
        "healthCheck: () => new Promise(() => {}), listModels: () => new Promise(() => {}),",
      ),
      "lists.ts": lists("1.0.0", ["shared", "fresh"]),
    },
  })
})

afterAll(async () => {
  await gateway?.stop()
})

interface Health {
  readonly status: string
  readonly reason: string | null
  readonly checked_at: string | null
  readonly since: string
}

async function healthOf(plugin: string): Promise<Health | null> {
  const info = (await (await fetch(`${gateway.adminUrl}/plugins/${plugin}`)).json()) as {
    readonly health: Health | null
  }
  return info.health
}

async function shownByMetric(plugin: string): Promise<string | undefined> {
  const text = await (await fetch(`${gateway.url}/metrics`)).text()
  return new RegExp(`^leapgate_provider_health\\{provider="${plugin}"\\} (\\d)$`, "m").exec(text)?.[1]
}

const untilIs = (status: string) =>
  waitFor(`flaky to be ${status}`, async () => (await healthOf("flaky"))?.status === status)
const breakIt = () => Bun.write(join(gateway.directory, "flaky-is-down"), "the key has expired")
const mendIt = () => Bun.file(join(gateway.directory, "flaky-is-down")).delete()
const linesWith = (message: string) =>
  gateway
    .logs()
    .split("\n")
    .filter((line) => line.includes(message) && line.includes('"provider":"flaky"')).length

describe("a provider that cannot serve", () => {
  test("is shown, tried last, and back in its place once it can", async () => {
    await untilIs("healthy")
    expect(await healthOf("flaky")).toEqual({
      status: "healthy",
      reason: null,
      checked_at: expect.stringMatching(/^\d{4}-.+Z$/),
      since: expect.stringMatching(/^\d{4}-.+Z$/),
    })
    expect(await askPlain(gateway.url, "preferred")).toBe("from flaky")

    await breakIt()
    await untilIs("unhealthy")
    expect(await healthOf("flaky")).toMatchObject({ reason: "the key has expired" })
    expect(await shownByMetric("flaky")).toBe("0")
    expect(await askPlain(gateway.url, "preferred")).toBe("from steady")
    expect(linesWith("a provider cannot serve")).toBe(1)

    await mendIt()
    await untilIs("healthy")
    expect(await shownByMetric("flaky")).toBe("1")
    expect(await askPlain(gateway.url, "preferred")).toBe("from flaky")
    expect(linesWith("a provider can serve again")).toBe(1)
  })

  test("is tried all the same where it is the only one, or the others fail", async () => {
    await breakIt()
    await untilIs("unhealthy")
    expect(await askPlain(gateway.url, "flaky/m")).toBe("from flaky")
    const reply = await postChat(gateway.url, { model: "preferred", prompt: "fail in steady" })
    expect(await reply.text()).toContain("from flaky")
    const vectors = await postEmbeddings(gateway.url, { model: "preferred" })
    expect(await vectors.json()).toMatchObject({ model: "m", data: [{ embedding: [1] }] })
    await mendIt()
    await untilIs("healthy")
  })
})

test("a plugin without a check has no health, and one that hangs is unknown and delays nobody", async () => {
  expect(await healthOf("steady")).toBeNull()
  expect(await healthOf("hanging")).toMatchObject({ status: "unknown", checked_at: null })
  expect(await askPlain(gateway.url, "hanging/m")).toBe("from hanging")
})

describe("models that a plugin lists live", () => {
  const modelsOf = async (plugin: string) => {
    const { data } = (await (await fetch(`${gateway.url}/v1/models`)).json()) as {
      readonly data: readonly { id: string; x_leapgate: { providers: string[] } }[]
    }
    return data.filter(({ x_leapgate: { providers } }) => providers.includes(plugin)).map(({ id }) => id)
  }
  const untilListed = (...models: string[]) =>
    waitFor(`${models} to be listed`, async () => Bun.deepEquals(await modelsOf("lists"), models))

  test("are listed and routed to without a restart", async () => {
    await untilListed("shared", "fresh")
    expect(await askPlain(gateway.url, "fresh")).toBe("from lists")
    expect((await postChat(gateway.url, { model: "stale" })).status).toBe(404)
  })

  test("follow a new version of the plugin, and no request falls into a gap", async () => {
    await untilListed("shared", "fresh")
    let isOver = false
    const asking = (async () => {
      const answers = new Set<string>()
      while (!isOver) answers.add(await askPlain(gateway.url, "shared"))
      return answers
    })()
    await gateway.writePlugin("lists.ts", lists("2.0.0", ["shared", "newer"]))
    await untilListed("shared", "newer")
    isOver = true
    expect(await asking).toEqual(new Set(["from lists"]))
    expect((await postChat(gateway.url, { model: "fresh" })).status).toBe(404)
  })

  test("go with the plugin", async () => {
    await gateway.deletePlugin("lists.ts")
    await untilListed()
  })
})

/** Healthy as long as a file is not there; the file says why. */
const CHECKS_A_FILE = `async healthCheck() {
  const file = Bun.file(directory + "/../flaky-is-down")
  if (await file.exists()) throw new Error(await file.text())
}, embed: ({ model }) => ({ object: "list", data: [{ object: "embedding", index: 0, embedding: [1] }], model, usage: { prompt_tokens: 1, total_tokens: 1 } }),`

function provider(name: string, abilities: string): string {
  return `import { definePlugin } from "leapgate/plugin"
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "provider",
  setup: ({ directory }) => ({
    models: ["m"],
    ${abilities}
    chat({ request }) {
      if (request.messages[0].content === "fail in ${name}") throw new Error("as asked")
      return { choices: [{ index: 0, message: { role: "assistant", content: "from ${name}" }, finish_reason: "stop" }] }
    },
  }),
})`
}

function lists(version: string, models: readonly string[]): string {
  return provider("lists", `listModels: async () => ${JSON.stringify(models)},`)
    .replace('version: "1.0.0"', `version: "${version}"`)
    .replace('models: ["m"]', 'models: ["stale"]')
}
