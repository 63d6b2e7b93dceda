/** Providers for a config that names none: those whose usual variable is set, and a local Ollama. */
import { type Static, Type } from "@sinclair/typebox"
import { Check, Decode } from "@sinclair/typebox/value"
import { withDefaults } from "./defaults.ts"
import { type ProviderConfig, ProviderSchema } from "./schema.ts"

interface KnownProvider {
  readonly variable: string
  readonly baseUrl: string
  /** A few that are there for long. Every other one is reached as `provider/model`. */
  readonly models: readonly string[]
}

export const KNOWN_PROVIDERS = {
  openai: {
    variable: "OPENAI_API_KEY",
    baseUrl: "https://api.openai.com/v1",
    models: ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini"],
  },
  anthropic: {
    variable: "ANTHROPIC_API_KEY",
    baseUrl: "https://api.anthropic.com/v1",
    models: ["claude-opus-4-7", "claude-sonnet-4-6", "claude-haiku-4-5"],
  },
  groq: {
    variable: "GROQ_API_KEY",
    baseUrl: "https://api.groq.com/openai/v1",
    models: ["llama-3.3-70b-versatile", "llama-3.1-8b-instant"],
  },
  mistral: {
    variable: "MISTRAL_API_KEY",
    baseUrl: "https://api.mistral.ai/v1",
    models: ["mistral-large-latest", "mistral-small-latest", "codestral-latest"],
  },
  cerebras: {
    variable: "CEREBRAS_API_KEY",
    baseUrl: "https://api.cerebras.ai/v1",
    models: ["llama-3.3-70b", "llama3.1-8b"],
  },
  openrouter: {
    variable: "OPENROUTER_API_KEY",
    baseUrl: "https://openrouter.ai/api/v1",
    models: ["openrouter/auto"],
  },
  gemini: {
    variable: "GEMINI_API_KEY",
    baseUrl: "https://generativelanguage.googleapis.com/v1beta/openai",
    models: ["gemini-2.5-pro", "gemini-2.5-flash"],
  },
  deepseek: {
    variable: "DEEPSEEK_API_KEY",
    baseUrl: "https://api.deepseek.com/v1",
    models: ["deepseek-chat", "deepseek-reasoner"],
  },
  xai: { variable: "XAI_API_KEY", baseUrl: "https://api.x.ai/v1", models: ["grok-4", "grok-3-mini"] },
  together: { variable: "TOGETHER_API_KEY", baseUrl: "https://api.together.xyz/v1", models: [] },
  fireworks: { variable: "FIREWORKS_API_KEY", baseUrl: "https://api.fireworks.ai/inference/v1", models: [] },
  perplexity: {
    variable: "PERPLEXITY_API_KEY",
    baseUrl: "https://api.perplexity.ai",
    models: ["sonar", "sonar-pro"],
  },
  cohere: {
    variable: "COHERE_API_KEY",
    baseUrl: "https://api.cohere.ai/compatibility/v1",
    models: ["command-a-03-2025", "command-r-08-2024"],
  },
} as const satisfies Record<string, KnownProvider>

type Environment = Readonly<Record<string, string | undefined>>

/** Those of the table whose variable is set. Asks nobody. */
export function discoverProviders(env: Environment): readonly ProviderConfig[] {
  return Object.entries(KNOWN_PROVIDERS).flatMap(([name, { variable, baseUrl, models }]) => {
    const apiKey = env[variable]?.trim()
    return apiKey ? [provider({ name, base_url: baseUrl, api_key: apiKey, models: [...models] })] : []
  })
}

interface OllamaOptions {
  readonly env: Environment
  readonly signal: AbortSignal
  readonly fetch?: typeof fetch
}

const OLLAMA_PORT = 11_434
const OLLAMA_DEADLINE_MS = 300

const TagsSchema = Type.Object({ models: Type.Array(Type.Object({ name: Type.String({ minLength: 1 }) })) })

/** The Ollama at `OLLAMA_HOST`, or on this machine, with its models; undefined if none answers in 300 ms. */
export async function discoverOllama(options: OllamaOptions): Promise<ProviderConfig | undefined> {
  const origin = ollamaOrigin(options.env.OLLAMA_HOST)
  const tags = await installedModels(`${origin}/api/tags`, options)
  if (tags === undefined) return undefined
  const models = tags.models.map(({ name }) => name)
  return provider({ name: "ollama", base_url: `${origin}/v1`, models })
}

async function installedModels(
  url: string,
  { signal, fetch: request = fetch }: OllamaOptions,
): Promise<Static<typeof TagsSchema> | undefined> {
  try {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(OLLAMA_DEADLINE_MS)])
    const reply = await request(url, { signal: deadline, redirect: "error" })
    const body: unknown = reply.ok ? await reply.json() : undefined
    return Check(TagsSchema, body) ? body : undefined
  } catch {
    // Nobody listens there, or not an Ollama: most machines have none.
    return undefined
  }
}

/** `OLLAMA_HOST` is also what the server binds to: `0.0.0.0`, `:11434`, `host`, `host:port` or a URL. */
function ollamaOrigin(host = ""): string {
  const text = host.trim()
  const url = URL.parse(
    text.includes("://") ? text : `http://${text.startsWith(":") ? "127.0.0.1" : ""}${text}`,
  )
  if (url === null) return `http://127.0.0.1:${OLLAMA_PORT}`
  if (url.hostname === "0.0.0.0" || url.hostname === "[::]") url.hostname = "127.0.0.1"
  if (url.port === "" && url.protocol === "http:" && !text.endsWith(":80")) url.port = String(OLLAMA_PORT)
  return url.origin
}

function provider(fields: Readonly<Record<string, unknown>>): ProviderConfig {
  return Decode(ProviderSchema, withDefaults(ProviderSchema, fields))
}
