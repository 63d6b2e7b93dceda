/** Turns what an auth plugin returned into a principal of the gateway's own: checked, copied, frozen. */
import { messageOf } from "../errors.ts"
import type { Principal } from "./contract.ts"
import { deepFreeze } from "./deep-freeze.ts"

/** @throws Error what is wrong with it */
export function readPrincipal(returned: unknown): Principal | undefined {
  if (returned === undefined) return undefined
  if (typeof returned !== "object" || returned === null) throw new Error("returned no object for a principal")
  const { name, userId, accountId, roles, permissions, metadata, expiresAtMs } = returned as Unchecked
  return Object.freeze({
    name: textOf("name", name),
    via: "plugin",
    ...(userId === undefined ? {} : { userId: textOf("userId", userId) }),
    ...(accountId === undefined ? {} : { accountId: textOf("accountId", accountId) }),
    roles: textsOf(roles, "a principal whose roles are no list of text"),
    permissions: textsOf(permissions, "a principal whose permissions are no list of text"),
    metadata: copyOf(metadata),
    ...(expiresAtMs === undefined ? {} : { expiresAtMs: timeOf(expiresAtMs) }),
  })
}

/** @throws Error where it is no list of text */
export function readPermissions(returned: unknown): readonly string[] {
  return textsOf(returned, "permissions that are no list of text")
}

export function withPermissions(principal: Principal, more: readonly string[]): Principal {
  const permissions = Object.freeze([...new Set([...principal.permissions, ...more])])
  return Object.freeze({ ...principal, permissions })
}

type Unchecked = { readonly [K in keyof Principal]?: unknown }

function textOf(field: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value
  throw new Error(`returned a principal whose ${field} is no text`)
}

function textsOf(value: unknown, fault: string): readonly string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string"))
    return Object.freeze([...value])
  throw new Error(`returned ${fault}`)
}

function timeOf(value: unknown): number {
  if (typeof value === "number" && !Number.isNaN(value)) return value
  throw new Error("returned a principal whose expiresAtMs is no number")
}

function copyOf(metadata: unknown): Principal["metadata"] {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    throw new Error("returned a principal whose metadata is no object")
  }
  try {
    return deepFreeze(structuredClone(metadata)) as Principal["metadata"]
  } catch (cause) {
    throw new Error(`returned a principal whose metadata is no plain data: ${messageOf(cause)}`, { cause })
  }
}
