/**
 * Official clients and an upstream that others wrote. They live in `test/clients` with a lockfile of their
 * own, so that the product's stays clean; here are their types, as far as the tests use them.
 */
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  EmbeddingRequest,
  EmbeddingResponse,
} from "../../src/protocol/openai.ts"

interface OpenAiModule {
  readonly OpenAI: new (options: {
    apiKey: string
    baseURL: string
    maxRetries?: number
    timeout?: number
  }) => OpenAiClient
  readonly BadRequestError: ApiErrorClass
  readonly AuthenticationError: ApiErrorClass
  readonly PermissionDeniedError: ApiErrorClass
  readonly NotFoundError: ApiErrorClass
  readonly RateLimitError: ApiErrorClass
  readonly InternalServerError: ApiErrorClass
  readonly APIUserAbortError: ApiErrorClass
  readonly APIError: ApiErrorClass
}

export interface ApiError extends Error {
  readonly status: number | undefined
  readonly code: string | null | undefined
  readonly type: string | undefined
  readonly requestID: string | null | undefined
}

type ApiErrorClass = abstract new (...args: never[]) => ApiError

export interface OpenAiClient {
  readonly chat: {
    readonly completions: {
      create(
        request: ChatRequest & { stream: true },
        options?: RequestOptions,
      ): ApiPromise<AsyncIterable<ChatCompletionChunk> & { readonly controller: AbortController }>
      create(request: ChatRequest, options?: RequestOptions): ApiPromise<ChatCompletion & WithRequestId>
      stream(request: ChatRequest): { finalChatCompletion(): Promise<ChatCompletion> }
    }
  }
  readonly embeddings: {
    create(request: EmbeddingRequest, options?: RequestOptions): ApiPromise<EmbeddingResponse & WithRequestId>
  }
  readonly models: {
    list(): Promise<{ readonly data: readonly { readonly id: string; readonly object: string }[] }>
    retrieve(id: string): Promise<{ readonly id: string; readonly object: string }>
  }
}

interface RequestOptions {
  readonly signal?: AbortSignal
  readonly headers?: Readonly<Record<string, string>>
}

interface WithRequestId {
  readonly _request_id?: string | null
}

interface ApiPromise<T> extends Promise<T> {
  withResponse(): Promise<{ data: T; response: Response; request_id: string | null }>
}

interface AiSdkModule {
  generateText(options: AiSdkCall): Promise<{
    readonly text: string
    readonly finishReason: string
    readonly usage: AiSdkUsage
    readonly steps: readonly { readonly toolResults: readonly { readonly output: unknown }[] }[]
  }>
  streamText(options: AiSdkCall & { onError?: (event: { error: unknown }) => void }): {
    readonly textStream: AsyncIterable<string>
    readonly text: PromiseLike<string>
    readonly finishReason: PromiseLike<string>
    readonly usage: PromiseLike<AiSdkUsage>
  }
  tool(definition: {
    description: string
    inputSchema: unknown
    execute: (input: Record<string, unknown>) => unknown
  }): unknown
  jsonSchema(schema: Readonly<Record<string, unknown>>): unknown
  stepCountIs(count: number): unknown
}

interface AiSdkCall {
  readonly model: unknown
  readonly prompt: string
  readonly tools?: Readonly<Record<string, unknown>>
  readonly stopWhen?: unknown
  readonly maxRetries?: number
  readonly abortSignal?: AbortSignal
}

interface AiSdkUsage {
  readonly inputTokens: number | undefined
  readonly outputTokens: number | undefined
  readonly totalTokens: number | undefined
}

interface OpenAiCompatibleModule {
  createOpenAICompatible(options: {
    name: string
    baseURL: string
    apiKey: string
    includeUsage?: boolean
  }): (model: string) => unknown
}

interface AimockModule {
  readonly LLMock: new (options: { port: number; host: string }) => Aimock
}

/** The upstream that others wrote: CopilotKit's aimock. */
export interface Aimock {
  readonly url: string
  on(match: AimockMatch, response: AimockResponse, options?: { latency?: number }): Aimock
  getRequests(): readonly { readonly path: string; readonly body: ChatRequest; readonly headers: unknown }[]
  start(): Promise<string>
  stop(): Promise<void>
}

interface AimockMatch {
  readonly model?: string
  readonly userMessage?: string
  readonly hasToolResult?: boolean
  readonly sequenceIndex?: number
}

type AimockResponse =
  | {
      readonly content: string
      readonly usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number }
    }
  | { readonly toolCalls: readonly { name: string; arguments: string; id?: string }[] }
  | {
      readonly error: { message: string; type: string; code?: string }
      readonly status: number
      readonly retryAfter?: number
    }

export interface Clients {
  readonly openai: OpenAiModule
  readonly ai: AiSdkModule
  readonly openAiCompatible: OpenAiCompatibleModule
  readonly aimock: AimockModule
}

const FOLDER = resolve(import.meta.dir, "../clients")

/** Undefined where the folder is not installed; says so once, with the command. */
export async function loadClients(): Promise<Clients | undefined> {
  if (!existsSync(join(FOLDER, "node_modules"))) {
    announceOnce(
      "SKIPPED: tests with official clients. Install them with: bun install --cwd test/clients --frozen-lockfile --ignore-scripts",
    )
    return undefined
  }
  return {
    openai: await load<OpenAiModule>("openai"),
    ai: await load<AiSdkModule>("ai"),
    openAiCompatible: await load<OpenAiCompatibleModule>("@ai-sdk/openai-compatible"),
    aimock: await load<AimockModule>("@copilotkit/aimock"),
  }
}

async function load<T>(name: string): Promise<T> {
  return (await import(Bun.resolveSync(name, FOLDER))) as T
}

/** Several test files ask in one process; the environment is what they share. */
function announceOnce(line: string): void {
  if (process.env.LEAPGATE_CLIENTS_ANNOUNCED !== undefined) return
  process.env.LEAPGATE_CLIENTS_ANNOUNCED = "1"
  console.error(`\n${line}\n`)
}
