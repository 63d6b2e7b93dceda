import { GatewayError } from "../errors.ts"

/** Why a call goes no further whose client is gone. */
export function clientLeft(when = "before the answer was sent"): GatewayError {
  return new GatewayError("client_closed_request", `the client closed the connection ${when}`)
}
