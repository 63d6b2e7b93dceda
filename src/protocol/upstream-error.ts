/** What a provider's refusal means to the gateway, whatever wire format its error has. */
import { type ErrorCode, GatewayError } from "../errors.ts"

/** What a provider itself said. Already redacted and cut to size. */
export interface UpstreamFault {
  readonly message: string
  readonly type?: string
  readonly code?: string
  readonly param?: string
}

export interface UpstreamResponse {
  readonly provider: string
  /** As this provider names it. */
  readonly model?: string
  readonly status: number
  readonly headers: Headers
  /** The body, or the start of it. */
  readonly body: string
}

/** The error behind a reply whose status is not 2xx. */
export function classifyResponse({ provider, model, status, headers, body }: UpstreamResponse): GatewayError {
  const fault = readErrorBody(body)
  return toError({ provider, model, status, fault, retryAfterMs: readRetryAfterMs(headers) })
}

/** The error behind an error event in a stream that began with status 200. */
export function classifyErrorEvent(
  { provider, model }: { readonly provider: string; readonly model: string },
  fault: UpstreamFault,
): GatewayError {
  return toError({ provider, model, status: statusOfFault(fault), fault, retryAfterMs: undefined })
}

/** Whether another provider may do better: not where the request itself is at fault. */
export function canFailOver({ kind, code, status }: GatewayError): boolean {
  if (kind === "invalid_input") return code === "upstream_rejected" && status === 404
  if (kind === "auth") return code === "upstream_auth_failed"
  return true
}

/** What the provider said, of an error that was made here. */
export function upstreamFault({ details }: GatewayError): UpstreamFault | undefined {
  return details instanceof UpstreamDetails ? details.upstream : undefined
}

/**
 * Finds the message in the error bodies that are about: OpenAI's and Anthropic's `{error:{message}}`, Gemini's
 * the same in a list, Ollama's `{error:"…"}`, Cohere's and Mistral's `{message}`, FastAPI's `{detail}`.
 */
export function readFault(body: unknown): UpstreamFault {
  const outer = asRecord(Array.isArray(body) ? body[0] : body)
  const inner = asRecord(outer.error)
  const source = Object.keys(inner).length > 0 ? inner : outer
  return {
    message: clean(textIn(source.message) ?? textIn(outer.error) ?? textIn(outer.detail) ?? ""),
    ...labelled("type", source.type ?? source.status),
    ...labelled("code", source.code),
    ...labelled("param", source.param),
  }
}

const MAX_MESSAGE_LENGTH = 2048
const MAX_LABEL_LENGTH = 100
const REDACTED = "[redacted]"
const REFUSED_KEY = /\bapi[ _]key (not valid|invalid)|\binvalid api[ _]key/i
const MAX_RETRY_AFTER_MS = 60 * 60 * 1000

class UpstreamDetails {
  constructor(
    readonly provider: string,
    readonly model: string | undefined,
    readonly status: number,
    readonly upstream: UpstreamFault,
  ) {}
}

interface Refusal {
  readonly provider: string
  readonly model: string | undefined
  readonly status: number
  readonly fault: UpstreamFault
  readonly retryAfterMs: number | undefined
}

function toError({ provider, model, status, fault, retryAfterMs }: Refusal): GatewayError {
  const code = codeFor(status, fault)
  const about = model === undefined ? "" : ` for "${model}"`
  const said = fault.message === "" ? "" : `: ${fault.message}`
  return new GatewayError(code, `provider "${provider}" ${describe(code, status, about)}${said}`, {
    details: new UpstreamDetails(provider, model, status, fault),
    ...(code === "upstream_rejected" && { status }),
    ...(fault.param !== undefined && { param: fault.param }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  })
}

function codeFor(status: number, { message }: UpstreamFault): ErrorCode {
  if (status === 401 || status === 402 || status === 403) return "upstream_auth_failed"
  if (status === 408 || status === 504) return "upstream_timeout"
  if (status === 429) return "upstream_rate_limited"
  if (status >= 500) return "upstream_server_error"
  if (status < 400) return "upstream_invalid_reply"
  // Gemini refuses a key with 400.
  if (status === 400 && REFUSED_KEY.test(message)) return "upstream_auth_failed"
  return "upstream_rejected"
}

function describe(code: ErrorCode, status: number, about: string): string {
  switch (code) {
    case "upstream_auth_failed":
      return status === 402
        ? "wants to be paid: the gateway's account there has no credit (status 402)"
        : `refused the gateway's key${about}: check the api_key in its config (status ${status})`
    case "upstream_timeout":
      return `took too long${about} (status ${status})`
    case "upstream_rate_limited":
      return `limits the gateway's rate${about} (status ${status})`
    case "upstream_server_error":
      return `failed${about} (status ${status})`
    case "upstream_invalid_reply":
      return `answered with status ${status}, which is no answer to such a request: check its base_url`
    default:
      return `rejected the request${about}`
  }
}

function statusOfFault({ type = "", code = "" }: UpstreamFault): number {
  const status = Number(code)
  if (status >= 400 && status <= 599) return status
  const words = `${type} ${code}`
  if (/rate.?limit|quota|exhausted/i.test(words)) return 429
  if (/authentication|permission|api.?key/i.test(words)) return 401
  if (/invalid.?(request|argument|prompt)|context.?length/i.test(words)) return 400
  return 500
}

function readErrorBody(body: string): UpstreamFault {
  try {
    return readFault(JSON.parse(body))
  } catch {
    const isPage = /^\s*</.test(body)
    return { message: isPage ? "" : clean(body) }
  }
}

/** `retry-after` in seconds or as a date, which counts from the reply's own; `retry-after-ms` is OpenAI's finer form. */
function readRetryAfterMs(headers: Headers): number | undefined {
  const retryAfter = headers.get("retry-after") ?? ""
  const inMs = headers.get("retry-after-ms") ?? ""
  if (isNumber(inMs)) return capPause(Number(inMs))
  if (isNumber(retryAfter)) return capPause(Number(retryAfter) * 1000)
  if (!isHttpDate(retryAfter)) return undefined
  const pauseMs = Date.parse(retryAfter) - Date.parse(headers.get("date") ?? "")
  return Number.isNaN(pauseMs) ? undefined : capPause(pauseMs)
}

function isNumber(text: string): boolean {
  return /^\d+(\.\d+)?$/.test(text)
}

/** `Date.parse` alone would take nearly anything. */
function isHttpDate(text: string): boolean {
  return /^[A-Z][a-z]+, .+ GMT$/.test(text)
}

function capPause(pauseMs: number): number {
  return Math.min(Math.max(pauseMs, 0), MAX_RETRY_AFTER_MS)
}

function textIn(value: unknown): string | undefined {
  if (typeof value === "string") return value
  if (value === undefined || value === null) return undefined
  return JSON.stringify(value)
}

function labelled<K extends string>(name: K, value: unknown): Partial<Record<K, string>> {
  if (typeof value !== "string" && typeof value !== "number") return {}
  return { [name]: redact(String(value).slice(0, MAX_LABEL_LENGTH)) } as Partial<Record<K, string>>
}

function clean(text: string): string {
  return redact(text.trim().slice(0, 2 * MAX_MESSAGE_LENGTH)).slice(0, MAX_MESSAGE_LENGTH)
}

/** Providers quote keys in their errors, in part or in full. */
function redact(text: string): string {
  return text
    .replaceAll(/\bbearer\s+\S+/gi, REDACTED)
    .replaceAll(/\b((sk|pk|rk|gsk|xai|hf|r8|pplx|nvapi)[-_]|AIza)[\w*.-]{6,}/g, REDACTED)
    .replaceAll(/\b[A-Za-z0-9]{32,}\b/g, REDACTED)
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {}
}
