import { GatewayError } from "../errors.ts"
import type { EmbedCall, ModelInfo, ProviderAbilities, ProviderCall } from "../plugin/contract.ts"
import { classifyResponse } from "../protocol/upstream-error.ts"
import type { Transport } from "./transport.ts"

export interface OpenAiProviderConfig {
  readonly name: string
  /** Up to and with the version: `https://api.example.com/v1`. */
  readonly baseUrl: string
  /** Empty: none is sent. */
  readonly apiKey: string
  /** Sent with every request; they win over the gateway's own. */
  readonly headers: Readonly<Record<string, string>>
  readonly models: readonly (string | ModelInfo)[]
  readonly connectTimeoutMs: number
}

export interface OpenAiProviderOptions {
  readonly config: OpenAiProviderConfig
  readonly transport: Transport
  /** The gateway's, for `user-agent`. */
  readonly version: string
}

/**
 * A provider that speaks OpenAI's chat completions and embeddings. Replies are passed on as they are.
 * @throws GatewayError `config_invalid`
 */
export function createOpenAiProvider({
  config,
  transport,
  version,
}: OpenAiProviderOptions): ProviderAbilities {
  const { name, models, connectTimeoutMs } = config
  const chatUrl = endpoint(config, "chat/completions")
  const embeddingsUrl = endpoint(config, "embeddings")
  const modelsUrl = endpoint(config, "models")
  const base = baseHeaders(config, version)
  const plainHeaders = { accept: "application/json", ...base }
  const streamHeaders = { accept: "text/event-stream", ...base }

  return { models, chat, embed, healthCheck }

  function chat(call: ProviderCall): Promise<Response> {
    return post(chatUrl, call.stream ? streamHeaders : plainHeaders, call)
  }

  function embed(call: EmbedCall): Promise<Response> {
    return post(embeddingsUrl, plainHeaders, call)
  }

  function post(
    url: string,
    base: Readonly<Record<string, string>>,
    { body, requestId, signal }: ProviderCall | EmbedCall,
  ): Promise<Response> {
    return transport.send({
      provider: name,
      url,
      method: "POST",
      headers: { ...base, "x-request-id": requestId },
      body,
      signal,
      connectTimeoutMs,
    })
  }

  async function healthCheck({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const response = await transport.send({
      provider: name,
      url: modelsUrl,
      method: "GET",
      headers: plainHeaders,
      signal,
      connectTimeoutMs,
    })
    await response.body?.cancel()
    const { status, headers } = response
    // A provider that has no list of models is alive all the same.
    if (!response.ok && status !== 404 && status !== 405) {
      throw classifyResponse({ provider: name, status, headers, body: "" })
    }
  }
}

/** What HTTP itself sets; a wrong value would break the connection or let one request pose as two. */
const FRAMING_HEADERS = new Set(["connection", "content-length", "transfer-encoding"])

function endpoint({ name, baseUrl }: OpenAiProviderConfig, path: string): string {
  if (!URL.canParse(baseUrl)) throw invalidConfig(name, `base_url is not a URL`)
  const url = new URL(baseUrl)
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/${path}`
  return url.href
}

function baseHeaders(
  { name, apiKey, headers }: OpenAiProviderConfig,
  version: string,
): Readonly<Record<string, string>> {
  const all = new Headers({ "content-type": "application/json", "user-agent": `leapgate/${version}` })
  if (apiKey !== "")
    setHeader(all, { name: "authorization", value: `Bearer ${apiKey}`, source: "api_key", provider: name })
  for (const [header, value] of Object.entries(headers)) {
    if (FRAMING_HEADERS.has(header.toLowerCase())) {
      throw invalidConfig(name, `headers must not set "${header}", which belongs to the connection`)
    }
    setHeader(all, { name: header, value, source: `header "${header}"`, provider: name })
  }
  return Object.fromEntries(all)
}

interface HeaderSetting {
  readonly name: string
  readonly value: string
  readonly source: string
  readonly provider: string
}

function setHeader(headers: Headers, { name, value, source, provider }: HeaderSetting): void {
  try {
    headers.set(name, value)
  } catch {
    throw invalidConfig(provider, `${source} has a character that HTTP does not allow in headers`)
  }
}

function invalidConfig(provider: string, what: string): GatewayError {
  return new GatewayError("config_invalid", `provider "${provider}": ${what}`)
}
