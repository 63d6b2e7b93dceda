/**
 * The error table. Every error that leaves the gateway, over HTTP, on the command line or in the log,
 * has its row here; `docs/reference/errors.md` is checked against it.
 *
 * `type` is the OpenAI error type (https://platform.openai.com/docs/guides/error-codes), `kind` the
 * closed vocabulary of the `onError` hook, `retryable` whether the same request may succeed later.
 */
export type ErrorKind =
  | "network"
  | "rate_limit"
  | "auth"
  | "invalid_input"
  | "timeout"
  | "server_error"
  | "unknown"

interface ErrorRow {
  readonly status: number
  readonly type: string
  readonly kind: ErrorKind
  readonly retryable: boolean
}

const invalid = (status: number): ErrorRow => ({
  status,
  type: "invalid_request_error",
  kind: "invalid_input",
  retryable: false,
})
const auth = (status: number, type: string): ErrorRow => ({ status, type, kind: "auth", retryable: false })
const server = (status: number, retryable: boolean): ErrorRow => ({
  status,
  type: "server_error",
  kind: "server_error",
  retryable,
})
const network = (status: number): ErrorRow => ({
  status,
  type: "server_error",
  kind: "network",
  retryable: true,
})
const timeout = (status: number): ErrorRow => ({
  status,
  type: "server_error",
  kind: "timeout",
  retryable: true,
})
const rateLimit: ErrorRow = { status: 429, type: "rate_limit_error", kind: "rate_limit", retryable: true }

export const ERRORS = {
  // The caller's request
  invalid_json: invalid(400),
  invalid_request: invalid(400),
  invalid_host: invalid(400),
  not_found: invalid(404),
  model_not_found: invalid(404),
  method_not_allowed: invalid(405),
  body_too_large: invalid(413),
  unsupported_media_type: invalid(415),
  request_rejected: invalid(403),
  client_closed_request: invalid(499),
  rate_limit_exceeded: rateLimit,

  // Who asks
  invalid_api_key: auth(401, "authentication_error"),
  admin_unauthorized: auth(401, "authentication_error"),
  forbidden: auth(403, "permission_error"),

  // Providers
  no_provider_available: server(503, true),
  all_providers_failed: server(502, true),
  upstream_unreachable: network(502),
  upstream_connection_lost: network(502),
  upstream_timeout: timeout(504),
  upstream_rate_limited: rateLimit,
  upstream_auth_failed: { status: 502, type: "server_error", kind: "auth", retryable: false },
  upstream_rejected: invalid(400),
  upstream_server_error: server(502, true),
  upstream_invalid_reply: server(502, true),

  // Plugins
  plugin_not_found: invalid(404),
  plugin_conflict: invalid(409),
  plugin_invalid: invalid(422),
  plugin_config_invalid: invalid(422),
  plugin_integrity: invalid(422),
  plugin_load_failed: server(500, false),
  plugin_setup_failed: server(500, false),
  plugin_dependency_failed: invalid(409),
  plugin_unsupported: invalid(422),
  plugin_failed: server(503, true),
  plugin_timeout: timeout(503),
  processes_disagree: server(503, true),

  // The gateway itself
  config_invalid: invalid(400),
  bind_refused: server(500, false),
  shutting_down: server(503, true),
  internal_error: server(500, false),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

export interface ErrorOptions {
  readonly cause?: unknown
  /** The field at fault, as a path: `messages[0].role`. */
  readonly param?: string
  /** Replaces the table's status, for errors that carry an upstream's. */
  readonly status?: number
  /** When to try again, in milliseconds from now. */
  readonly retryAfterMs?: number
  /** Extra reply headers. */
  readonly headers?: Readonly<Record<string, string>>
  /** Machine-readable detail, shown in the body under `details`. Never secrets. */
  readonly details?: unknown
}

/** The one error class that is thrown on purpose. `message` says who, what, and the likely fix. */
export class GatewayError extends Error {
  override readonly name = "GatewayError"
  readonly code: ErrorCode
  readonly status: number
  readonly type: string
  readonly kind: ErrorKind
  readonly retryable: boolean
  readonly param: string | undefined
  readonly retryAfterMs: number | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
  readonly details: unknown

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const row: ErrorRow = ERRORS[code]
    this.code = code
    this.status = options.status ?? row.status
    this.type = row.type
    this.kind = row.kind
    this.retryable = row.retryable
    this.param = options.param
    this.retryAfterMs = options.retryAfterMs
    this.headers = options.headers
    this.details = options.details
  }
}

/** Whatever was thrown, as a sentence. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message || thrown.name
  return typeof thrown === "string" ? thrown : String(thrown)
}

/** Whatever was thrown, as a GatewayError: kept if it is one, else an `internal_error` with the cause. */
export function toGatewayError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  return new GatewayError("internal_error", "the gateway failed to answer; its log has the cause", {
    cause: thrown,
  })
}
