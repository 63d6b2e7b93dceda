import { createHash, timingSafeEqual } from "node:crypto"
import type { Principal } from "../plugin/contract.ts"

/** Static keys by their digest, so that neither a look-up nor a memory dump compares the secrets themselves. */
export class KeyRing {
  readonly #principals: ReadonlyMap<string, Principal>

  constructor(keys: readonly { readonly name: string; readonly key: string }[]) {
    this.#principals = new Map(keys.map(({ name, key }) => [digest(key), keyPrincipal(name)]))
  }

  get isEmpty(): boolean {
    return this.#principals.size === 0
  }

  find(token: string): Principal | undefined {
    return this.#principals.get(digest(token))
  }
}

export const ANONYMOUS: Principal = Object.freeze({
  name: "anonymous",
  via: "anonymous",
  roles: Object.freeze([]),
  permissions: Object.freeze([]),
  metadata: Object.freeze({}),
})

/** Where callers put what proves who they are. */
export const CREDENTIAL_HEADERS = ["authorization", "x-api-key", "api-key"] as const

/** The credential of a request: `Authorization: Bearer`, as OpenAI's clients send it, or `x-api-key` / `api-key`. */
export function credentialOf(headers: Headers): string | undefined {
  const authorization = headers.get("authorization")
  if (authorization !== null) {
    const space = authorization.indexOf(" ")
    if (authorization.slice(0, space).toLowerCase() !== "bearer") return undefined
    return authorization.slice(space + 1).trim() || undefined
  }
  return headers.get("x-api-key") ?? headers.get("api-key") ?? undefined
}

/** Compares two secrets in a time that does not tell where they differ. */
export function isSameSecret(a: string, b: string): boolean {
  return timingSafeEqual(createHash("sha256").update(a).digest(), createHash("sha256").update(b).digest())
}

function digest(text: string): string {
  return Bun.SHA256.hash(text, "hex")
}

function keyPrincipal(name: string): Principal {
  return Object.freeze({ ...ANONYMOUS, name, via: "key" })
}
