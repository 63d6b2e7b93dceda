/** What plugin authors import as `leapgate/plugin`. */
import { Type as TypeBox } from "@sinclair/typebox"
import { Bytes, Duration } from "../config/units.ts"

/** TypeBox's types, and the two units of LeapGate's configuration: `Type.Duration` and `Type.Bytes`. */
export const Type = Object.freeze(Object.assign({}, TypeBox, { Duration, Bytes }))

export type { Static, StaticDecode } from "@sinclair/typebox"
export { type ErrorCode, type ErrorKind, GatewayError } from "../errors.ts"
export type * from "../protocol/openai.ts"
export { matcher } from "../protocol/pattern.ts"
export * from "./contract.ts"
export { definePlugin } from "./define.ts"
