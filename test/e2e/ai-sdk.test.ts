/** Vercel's AI SDK against the gateway, with an upstream that others wrote behind it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { type Aimock, loadClients } from "../support/clients.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"

const TEXT = "Ein Satz mit Umlauten: grün, weiß, 🌍. ".repeat(10)

const clients = await loadClients()

describe.skipIf(clients === undefined)("the AI SDK", () => {
  let mock: Aimock
  let gateway: RunningGateway

  beforeAll(async () => {
    if (clients === undefined) return
    mock = new clients.aimock.LLMock({ port: 0, host: "127.0.0.1" })
    mock.on(
      { userMessage: "hello" },
      { content: TEXT, usage: { prompt_tokens: 5, completion_tokens: 6, total_tokens: 11 } },
    )
    mock.on(
      { userMessage: "weather", hasToolResult: false },
      { toolCalls: [{ id: "call_1", name: "weather", arguments: '{"city":"Bern"}' }] },
    )
    mock.on({ userMessage: "weather", hasToolResult: true }, { content: "21 degrees in Bern." })
    mock.on({ userMessage: "fail" }, { status: 500, error: { message: "broken", type: "server_error" } })
    await mock.start()
    gateway = await startGateway({
      config: {
        providers: [{ name: "aimock", base_url: `${mock.url}/v1`, api_key: "mock", models: ["m"] }],
        routing: { max_retries: 0 },
      },
    })
  })

  afterAll(async () => {
    await gateway?.stop()
    await mock?.stop()
  })

  test("generates text with its usage", async () => {
    const result = await sdk().generateText({ model: model(), prompt: "hello" })
    expect(result.text).toBe(TEXT)
    expect(result.finishReason).toBe("stop")
    expect(result.usage).toMatchObject({ inputTokens: 5, outputTokens: 6, totalTokens: 11 })
  })

  test("streams text with its usage", async () => {
    const result = sdk().streamText({ model: model(), prompt: "hello" })
    const pieces = await Array.fromAsync(result.textStream)
    expect(pieces.join("")).toBe(TEXT)
    expect(pieces.length).toBeGreaterThan(5)
    expect(await result.finishReason).toBe("stop")
    expect(await result.usage).toMatchObject({ inputTokens: 5, outputTokens: 6 })
  })

  test("runs a tool and goes on with its result", async () => {
    const result = await sdk().generateText(withTool())
    expect(result.steps[0]?.toolResults[0]?.output).toEqual({ city: "Bern", degrees: 21 })
    expect(result.text).toBe("21 degrees in Bern.")
  })

  test("runs a tool in a stream and goes on with its result", async () => {
    const result = sdk().streamText(withTool())
    expect((await Array.fromAsync(result.textStream)).join("")).toBe("21 degrees in Bern.")
  })

  test("reports a provider's failure with the gateway's message", async () => {
    const failing = sdk().generateText({ model: model(), prompt: "fail", maxRetries: 0 })
    expect(failing).rejects.toThrow('"aimock"')
  })

  function withTool() {
    const weather = sdk().tool({
      description: "The weather of a city",
      inputSchema: sdk().jsonSchema({ type: "object", properties: { city: { type: "string" } } }),
      execute: ({ city }) => ({ city, degrees: 21 }),
    })
    return { model: model(), prompt: "weather", tools: { weather }, stopWhen: sdk().stepCountIs(3) }
  }

  function sdk() {
    if (clients === undefined) throw new Error("test/clients is not installed")
    return clients.ai
  }

  function model(): unknown {
    const options = { name: "leapgate", baseURL: `${gateway.url}/v1`, apiKey: "any", includeUsage: true }
    return clients?.openAiCompatible.createOpenAICompatible(options)("m")
  }
})
