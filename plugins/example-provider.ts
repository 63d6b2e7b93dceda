/**
 * A whole provider in one file. Without `api_endpoint` it answers by itself, so that a new gateway has
 * something to say; with one it forwards to any server that speaks OpenAI's chat completions and embeddings.
 */
import {
  type ChatCompletion,
  type ChatCompletionChunk,
  type ChatRequest,
  type DeepReadonly,
  definePlugin,
  type EmbedCall,
  type EmbeddingRequest,
  type EmbeddingResponse,
  GatewayError,
  type ModelInfo,
  type ProviderCall,
  Type,
  type Usage,
} from "leapgate/plugin"

/** The prices are made up, so that routing by cost has something to compare. */
const DEMO_MODELS: readonly ModelInfo[] = [
  { id: "demo", contextLength: 8192, inputCostUsd: 0.1, outputCostUsd: 0.4, quality: 0.3 },
  { id: "demo-large", contextLength: 32_768, inputCostUsd: 1, outputCostUsd: 4, quality: 0.6 },
  { id: "demo-embedding", contextLength: 8192, inputCostUsd: 0.02 },
]

/** The one that makes embeddings, and nothing else. */
const EMBEDDING_MODEL = "demo-embedding"

export default definePlugin({
  name: "example-provider",
  version: "1.0.0",
  type: "provider",
  description: "Answers by itself, or forwards to an OpenAI-compatible endpoint",
  metadata: { tags: ["example", "demo"] },
  config: Type.Object({
    api_endpoint: Type.String({
      default: "",
      pattern: "^$|^https?://[^\\s]+$",
      errorMessage: 'must be a URL such as "https://api.example.com/v1", or empty',
      description: "Where to forward. Empty: the demo answers",
    }),
    api_key: Type.String({ default: "", description: "Sent as a bearer token. Empty: none is sent" }),
    timeout: Type.Duration({ default: "30s", description: "Until the reply's headers" }),
    max_retries: Type.Integer({ minimum: 0, maximum: 10, default: 3, description: "After network errors" }),
    models: Type.Array(Type.String({ minLength: 1 }), {
      default: DEMO_MODELS.map(({ id }) => id),
      description: "What the endpoint serves",
    }),
  }),

  setup({ config, log }) {
    const models = config.models.map((id) => DEMO_MODELS.find((model) => model.id === id) ?? { id })
    if (config.api_endpoint === "") {
      log.info("no api_endpoint is set; the demo answers", { models: config.models })
      return { models, estimateCost, chat: answer, embed: embedDemo }
    }
    const { chat, embed, healthCheck } = createUpstream(config)
    return { models, estimateCost, chat, embed, healthCheck }
  },
})

// ---------------------------------------------------------------------------------------------------
// The demo

function answer(call: ProviderCall): ChatCompletion | AsyncIterable<ChatCompletionChunk> {
  if (call.model === EMBEDDING_MODEL) {
    throw wrongModel(`${call.model} makes embeddings and does not chat; ask for it at /v1/embeddings`)
  }
  const text = demoText(call)
  const usage = usageOf(call.request, text)
  if (call.stream) return streamed(call, text, usage)
  return {
    id: `chatcmpl-${call.requestId}`,
    object: "chat.completion",
    created: Math.floor(Date.now() / 1000),
    model: call.model,
    choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
    usage,
  }
}

async function* streamed(
  call: ProviderCall,
  text: string,
  usage: Usage,
): AsyncGenerator<ChatCompletionChunk> {
  const wantsUsage = call.request.stream_options?.include_usage === true
  const base = {
    id: `chatcmpl-${call.requestId}`,
    object: "chat.completion.chunk",
    created: Math.floor(Date.now() / 1000),
    model: call.model,
    // OpenAI sends the field with every chunk once it was asked for.
    ...(wantsUsage ? { usage: null } : {}),
  } as const

  yield { ...base, choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] }
  for (const word of text.match(/\S+\s*/g) ?? []) {
    call.signal.throwIfAborted()
    yield { ...base, choices: [{ index: 0, delta: { content: word }, finish_reason: null }] }
  }
  yield { ...base, choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }
  if (wantsUsage) yield { ...base, choices: [], usage }
}

const MAX_ECHO_LENGTH = 200

function demoText({ model, request }: ProviderCall): string {
  const asked = request.messages.findLast((message) => message?.role === "user")
  const said = textOf(asked?.content).replace(/\s+/g, " ").trim()
  const echo = said.length > MAX_ECHO_LENGTH ? `${said.slice(0, MAX_ECHO_LENGTH).toWellFormed()}…` : said
  return [
    `Hello from ${model}, LeapGate's built-in demo: no language model is behind it.`,
    echo === "" ? "Your message had no text." : `You said: "${echo}"`,
    "Add a provider to config.yaml to get real answers.",
  ].join(" ")
}

function wrongModel(message: string): GatewayError {
  return new GatewayError("upstream_rejected", message, { status: 404, param: "model" })
}

// ---------------------------------------------------------------------------------------------------
// The demo's embeddings: equal inputs get equal vectors, and no vector means anything

const DEFAULT_DIMENSIONS = 64
const MAX_DIMENSIONS = 1024
const MAX_INPUTS = 256

function embedDemo({ model, request }: EmbedCall): EmbeddingResponse {
  if (model !== EMBEDDING_MODEL) {
    throw wrongModel(`${model} makes no embeddings; the demo's model for them is ${EMBEDDING_MODEL}`)
  }
  const dimensions = request.dimensions ?? DEFAULT_DIMENSIONS
  const inputs = inputsOf(request.input)
  refuseAbove(MAX_DIMENSIONS, dimensions, "dimensions")
  refuseAbove(MAX_INPUTS, inputs.length, "input")
  const tokens = inputs.reduce((total, input) => total + inputTokens(input), 0)
  return {
    object: "list",
    data: inputs.map((input, index) => ({
      object: "embedding",
      index,
      embedding: unitVector(JSON.stringify(input), dimensions),
    })),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  }
}

/** A list of token numbers is one input, and so is each list in a list of them. */
function inputsOf(input: DeepReadonly<EmbeddingRequest["input"]>): readonly (string | readonly unknown[])[] {
  if (typeof input === "string") return [input]
  const items: readonly (string | number | readonly number[])[] = input
  return items.every((item) => typeof item !== "number") ? items : [items]
}

function refuseAbove(limit: number, asked: number, param: "dimensions" | "input"): void {
  if (asked <= limit) return
  throw new GatewayError("upstream_rejected", `the demo takes at most ${limit} of "${param}", got ${asked}`, {
    param,
  })
}

/** A direction that a generator of random numbers gives, for which the text is the seed. */
function unitVector(seed: string, dimensions: number): number[] {
  let state = Bun.hash.xxHash32(seed) || 1
  const vector = Array.from({ length: dimensions }, () => {
    // Source: George Marsaglia, Xorshift RNGs, 2003
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state / 2 ** 31
  })
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0))
  return vector.map((value) => value / length)
}

// ---------------------------------------------------------------------------------------------------
// Tokens and prices

const CHARACTERS_PER_TOKEN = 4
const EXPECTED_OUTPUT_TOKENS = 1000

function estimateCost(request: DeepReadonly<ChatRequest>): number | null {
  const model = DEMO_MODELS.find(({ id }) => id === request.model)
  if (model?.inputCostUsd === undefined || model.outputCostUsd === undefined) return null
  const outputTokens = request.max_completion_tokens ?? request.max_tokens ?? EXPECTED_OUTPUT_TOKENS
  return (promptTokens(request) * model.inputCostUsd + outputTokens * model.outputCostUsd) / 1e6
}

function usageOf(request: DeepReadonly<ChatRequest>, text: string): Usage {
  const prompt = promptTokens(request)
  const completion = tokensOf(text)
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}

function promptTokens(request: DeepReadonly<ChatRequest>): number {
  return request.messages.reduce((total, message) => total + tokensOf(textOf(message?.content)), 0)
}

function inputTokens(input: string | readonly unknown[]): number {
  return typeof input === "string" ? tokensOf(input) : input.length
}

function tokensOf(text: string): number {
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN)
}

/** The text of a message: plain, or the text parts of a list of parts. Anything else has none. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return ""
  return content.flatMap((part) => (typeof part?.text === "string" ? [part.text] : [])).join(" ")
}

// ---------------------------------------------------------------------------------------------------
// The endpoint

interface UpstreamConfig {
  readonly api_endpoint: string
  readonly api_key: string
  readonly timeout: number
  readonly max_retries: number
}

function createUpstream({ api_endpoint, api_key, timeout, max_retries }: UpstreamConfig) {
  const base = api_endpoint.replace(/\/+$/, "")
  const host = new URL(base).host
  const headers = {
    "content-type": "application/json",
    ...(api_key === "" ? {} : { authorization: `Bearer ${api_key}` }),
  }
  return {
    chat: (call: ProviderCall) => forward("chat/completions", call),
    embed: (call: EmbedCall) => forward("embeddings", call),
    healthCheck,
  }

  async function forward(path: string, call: ProviderCall | EmbedCall): Promise<Response> {
    for (let retries = 0; ; retries++) {
      try {
        return await post(path, call)
      } catch (thrown) {
        if (call.signal.aborted || thrown instanceof GatewayError) throw thrown
        if (retries === max_retries) {
          const message = `example-provider could not reach ${host} in ${retries + 1} tries; check api_endpoint`
          throw new GatewayError("upstream_unreachable", message, { cause: thrown })
        }
        // A client that leaves meanwhile is noticed by the next try.
        await Bun.sleep(backOffMs(retries))
      }
    }
  }

  /** Waits for the headers only as long as `timeout`, but lets the caller cut the body at any time. */
  async function post(path: string, call: ProviderCall | EmbedCall): Promise<Response> {
    call.signal.throwIfAborted()
    const controller = new AbortController()
    const abort = () => controller.abort(call.signal.reason)
    const giveUp = () => controller.abort(tooSlow(`did not answer within ${timeout} ms`))
    const timer = setTimeout(giveUp, timeout)
    call.signal.addEventListener("abort", abort, { once: true })
    try {
      return await fetch(`${base}/${path}`, {
        method: "POST",
        headers,
        body: call.body,
        signal: controller.signal,
      })
    } catch (thrown) {
      call.signal.removeEventListener("abort", abort)
      throw thrown
    } finally {
      clearTimeout(timer)
    }
  }

  async function healthCheck({ signal }: { signal: AbortSignal }): Promise<void> {
    const response = await fetch(`${base}/models`, { headers, signal })
    await response.body?.cancel()
    if (response.status === 401 || response.status === 403) {
      throw new GatewayError("upstream_auth_failed", `${host} refuses the key; check api_key`)
    }
    if (response.status >= 500) {
      throw new GatewayError("upstream_server_error", `${host} answered ${response.status}`)
    }
  }

  function tooSlow(fault: string): GatewayError {
    return new GatewayError("upstream_timeout", `${host} ${fault}; raise timeout of example-provider`)
  }
}

/** 100 ms, doubling up to 10 s, ±10 % so that many callers do not come back at once. */
function backOffMs(retries: number): number {
  return Math.min(100 * 2 ** retries, 10_000) * (0.9 + Math.random() * 0.2)
}
