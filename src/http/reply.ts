import type { GatewayError } from "../errors.ts"
import { errorBody } from "../protocol/sse.ts"

const JSON_HEADERS = { "content-type": "application/json" } as const

export function jsonReply(body: unknown, status = 200): Response {
  return new Response(JSON.stringify(body), { status, headers: JSON_HEADERS })
}

/** An error as OpenAI's clients expect it. */
export function errorReply(error: GatewayError): Response {
  const response = new Response(JSON.stringify(errorBody(error)), {
    status: error.status,
    headers: JSON_HEADERS,
  })
  for (const [name, value] of Object.entries(error.headers ?? {})) response.headers.set(name, value)
  if (error.retryAfterMs !== undefined) {
    response.headers.set("retry-after", String(Math.ceil(error.retryAfterMs / 1000)))
    response.headers.set("retry-after-ms", String(Math.ceil(error.retryAfterMs)))
  }
  return response
}
