import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import {
  type CryptoKey,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from "jose"
import { type AuthAbilities, GatewayError, type Principal } from "leapgate/plugin"
import { ANONYMOUS, setUpPlugin } from "../test/plugin-context.ts"
import { errorOf } from "../test/support/chat.ts"
import { startGateway } from "../test/support/gateway.ts"
import jwtAuth from "./jwt-auth.ts"

const SECRET = "a-secret-of-at-least-thirty-two-bytes"
const CONTEXT = { signal: new AbortController().signal }
const encoded = (secret: string) => new TextEncoder().encode(secret)

interface Key {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly publicKey: CryptoKey
}

async function newKey(alg: string, kid: string): Promise<Key> {
  return { kid, alg, ...(await generateKeyPair(alg, { extractable: true })) }
}

let rsa: Key
let ec: Key
beforeAll(async () => {
  ;[rsa, ec] = await Promise.all([newKey("RS256", "rsa"), newKey("ES256", "ec")])
})

function sign(
  claims: JWTPayload,
  key: Key | string = SECRET,
  {
    expires = "1h",
    alg = "HS256",
    kid = true,
  }: { expires?: string | number; alg?: string; kid?: boolean } = {},
): Promise<string> {
  const jwt = new SignJWT({ sub: "ann", ...claims }).setExpirationTime(expires)
  if (typeof key === "string") return jwt.setProtectedHeader({ alg }).sign(encoded(key))
  return jwt.setProtectedHeader({ alg: key.alg, ...(kid && { kid: key.kid }) }).sign(key.privateKey)
}

async function auth(config: Record<string, unknown> = {}): Promise<AuthAbilities> {
  return (await setUpPlugin(jwtAuth, { config: { secret: SECRET, ...config } })).abilities
}

async function authBy(config: Record<string, unknown>): Promise<AuthAbilities> {
  return (await setUpPlugin(jwtAuth, { config })).abilities
}

async function refusalOf(abilities: AuthAbilities, token: string): Promise<string> {
  try {
    const principal = await abilities.authenticate(token, CONTEXT)
    return `known as ${principal?.name}`
  } catch (thrown) {
    if (!(thrown instanceof GatewayError)) throw thrown
    expect(thrown.code).toBe("invalid_api_key")
    for (const part of token.split(".").filter((part) => part.length > 3))
      expect(thrown.message).not.toContain(part)
    return thrown.message
  }
}

/** A JWKS endpoint whose keys can be changed while it runs. */
class KeyServer implements Disposable {
  keys: readonly Key[] = []
  requests = 0
  status = 200
  readonly #server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async () => {
      this.requests++
      const keys = await Promise.all(
        this.keys.map(async ({ publicKey, kid, alg }) => ({ ...(await exportJWK(publicKey)), kid, alg })),
      )
      return Response.json({ keys }, { status: this.status })
    },
  })

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}/jwks.json`
  }

  [Symbol.dispose](): void {
    void this.#server.stop(true)
  }
}

describe("with a secret", () => {
  test("a token's claims become a principal", async () => {
    const abilities = await auth()
    const exp = Math.floor(Date.now() / 1000) + 600
    const token = await sign({ iss: "me", roles: ["dev"], scope: "read write" }, SECRET, { expires: exp })
    expect(await abilities.authenticate(token, CONTEXT)).toEqual({
      name: "ann",
      via: "plugin",
      userId: "ann",
      roles: ["dev"],
      permissions: ["read", "write"],
      metadata: { authenticated_by: "jwt-auth", issuer: "me" },
      expiresAtMs: exp * 1000,
    })
  })

  test.each(["HS256", "HS384", "HS512"])("%s is accepted", async (alg) => {
    const token = await sign({}, SECRET, { alg })
    expect(await (await auth()).authenticate(token, CONTEXT)).toMatchObject({ name: "ann" })
  })

  test("only the algorithms that are listed are accepted", async () => {
    const token = await sign({}, SECRET, { alg: "HS512" })
    expect(await refusalOf(await auth({ algorithms: ["HS256"] }), token)).toContain("its algorithm")
  })

  test("claims may be called otherwise, and lie inside of others", async () => {
    const abilities = await auth({
      name_claim: "email",
      roles_claim: "realm_access.roles",
      permissions_claim: "https://example.com/permissions",
    })
    const token = await sign({
      email: "ann@example.com",
      realm_access: { roles: ["a", 1, "b"] },
      "https://example.com/permissions": ["p"],
    })
    expect(await abilities.authenticate(token, CONTEXT)).toMatchObject({
      name: "ann@example.com",
      userId: "ann",
      roles: ["a", "b"],
      permissions: ["p"],
    })
  })

  test.each([
    ["an opaque key", "lg-some-key"],
    ["nothing with dots", ".."],
    ["a host name", "api.example.com"],
    ["five parts, as an encrypted token has them", "a.b.c.d.e"],
  ])("%s is not known, so that another plugin may know it", async (_, token) => {
    expect(await (await auth()).authenticate(token, CONTEXT)).toBeUndefined()
  })

  test.each<[string, () => Promise<string> | string, string]>([
    ["another secret", () => sign({}, "another-secret-of-at-least-32-bytes!"), "its signature is not valid"],
    ["an end in the past", () => sign({ iss: "me", aud: "us" }, SECRET, { expires: 1 }), "it has expired"],
    ["a beginning in the future", () => sign({ nbf: 4e9, iss: "me", aud: "us" }), 'its claim "nbf"'],
    ["another issuer", () => sign({ iss: "them", aud: "us" }), 'its claim "iss"'],
    ["another audience", () => sign({ iss: "me", aud: "them" }), 'its claim "aud"'],
    ["no audience", () => sign({ iss: "me" }), 'its claim "aud"'],
    ["no name", () => sign({ sub: "", iss: "me", aud: "us" }), 'no claim "sub"'],
    ["no signature", () => new UnsecuredJWT({ sub: "ann", iss: "me", aud: "us" }).encode(), "its algorithm"],
    ["an algorithm called None", () => `${btoa('{"alg":"None"}')}.${btoa("{}")}.`, "its algorithm"],
    ["a payload that is none", () => `${btoa('{"alg":"HS256"}')}.!.x`, ""],
    ["a critical extension", () => `${btoa('{"alg":"HS256","crit":["x"],"x":1}')}.e30.x`, "it is malformed"],
  ])("a token with %s is refused", async (_, make, message) => {
    const abilities = await auth({ issuer: "me", audience: "us" })
    const refusal = await refusalOf(abilities, await make())
    expect(refusal).toContain("the token is refused")
    expect(refusal).toContain(message)
  })

  test("clock_tolerance lets a token in that has just expired, for as long", async () => {
    const exp = Math.floor(Date.now() / 1000) - 30
    const token = await sign({}, SECRET, { expires: exp })
    expect(await refusalOf(await auth({ clock_tolerance: "10s" }), token)).toContain("expired")
    const principal = await (await auth({ clock_tolerance: "1h" })).authenticate(token, CONTEXT)
    expect(principal?.expiresAtMs).toBe((exp + 3600) * 1000)
  })
})

describe("with a public key", () => {
  test.each(["RS256", "PS384", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"])(
    "%s is accepted",
    async (alg) => {
      const key = await newKey(alg, "k")
      const abilities = await authBy({ public_key: await exportSPKI(key.publicKey) })
      const token = await sign({}, key)
      expect(await abilities.authenticate(token, CONTEXT)).toMatchObject({ name: "ann" })
      expect(await refusalOf(abilities, `${token.slice(0, -8)}AAAAAAAA`)).toContain("signature")
    },
  )

  test("the key's text is not taken for a secret", async () => {
    const pem = await exportSPKI(rsa.publicKey)
    const abilities = await authBy({ public_key: pem })
    for (const secret of [pem, pem.trim(), pem.replaceAll("\n", "")]) {
      expect(await refusalOf(abilities, await sign({}, secret))).toContain("its algorithm")
    }
  })
})

describe("with a JWKS", () => {
  test("tokens of all its keys are accepted, and it is asked once", async () => {
    using server = new KeyServer()
    server.keys = [rsa, ec]
    const abilities = await authBy({ jwks_url: server.url })
    const tokens = await Promise.all([sign({}, rsa), sign({}, ec), sign({}, rsa, { kid: false })])
    for (const token of tokens) {
      expect(await abilities.authenticate(token, CONTEXT)).toMatchObject({ name: "ann" })
    }
    expect(server.requests).toBe(1)
  })

  test("a token that does not say its key may be of any that fits", async () => {
    using server = new KeyServer()
    const other = await newKey("RS256", "other")
    server.keys = [other, rsa]
    const abilities = await authBy({ jwks_url: server.url })
    expect(await abilities.authenticate(await sign({}, rsa, { kid: false }), CONTEXT)).toMatchObject({
      name: "ann",
    })
    const stranger = await newKey("RS256", "stranger")
    expect(await refusalOf(abilities, await sign({}, stranger, { kid: false }))).toContain("signature")
  })

  test("a key that was rotated in is found, and one that was rotated out is refused", async () => {
    using server = new KeyServer()
    server.keys = [rsa]
    const abilities = await authBy({ jwks_url: server.url, jwks_cooldown: "0s" })
    expect(await abilities.authenticate(await sign({}, rsa), CONTEXT)).toMatchObject({ name: "ann" })
    server.keys = [ec]
    expect(await abilities.authenticate(await sign({}, ec), CONTEXT)).toMatchObject({ name: "ann" })
    expect(await refusalOf(abilities, await sign({}, rsa))).toContain("a key that is not known")
  })

  test("unknown keys cannot make it ask all the time", async () => {
    using server = new KeyServer()
    server.keys = [rsa]
    const abilities = await authBy({ jwks_url: server.url, jwks_cooldown: "1h" })
    await abilities.authenticate(await sign({}, rsa), CONTEXT)
    for (let i = 0; i < 5; i++) {
      expect(await refusalOf(abilities, await sign({}, { ...rsa, kid: `made-up-${i}` }))).toContain(
        "not known",
      )
    }
    expect(server.requests).toBe(1)
  })

  test("a token with a secret's algorithm is refused without asking", async () => {
    using server = new KeyServer()
    server.keys = [rsa]
    const abilities = await authBy({ jwks_url: server.url })
    expect(await refusalOf(abilities, await sign({}, await exportSPKI(rsa.publicKey)))).toContain(
      "its algorithm",
    )
    expect(server.requests).toBe(0)
  })

  test("one that fails is a failure, and nobody is let in", async () => {
    using server = new KeyServer()
    server.keys = [rsa]
    server.status = 500
    const abilities = await authBy({ jwks_url: server.url })
    const attempt = Promise.resolve(abilities.authenticate(await sign({}, rsa), CONTEXT))
    await expect(attempt).rejects.not.toBeInstanceOf(GatewayError)
  })
})

describe("what a principal may do", () => {
  const OWN: Principal = {
    ...ANONYMOUS,
    name: "ann",
    via: "plugin",
    roles: ["ops"],
    metadata: { authenticated_by: "jwt-auth", models: ["gpt-*", "*/small", "exact"] },
  }
  const may = async (
    config: Record<string, unknown>,
    principal: Principal,
    action: string,
    resource: string,
  ) => (await auth(config)).authorize?.(principal, action, resource, CONTEXT)

  test.each([
    ["gpt-5", true],
    ["gpt-", true],
    ["exact", true],
    ["exactly", false],
    ["up/small", true],
    ["up/small/er", false],
    ["other", false],
  ])("models_claim limits it: %s is %s", async (model, allowed) => {
    expect(await may({ models_claim: "models" }, OWN, "model.use", model)).toBe(allowed)
  })

  test("without models_claim it may use every model, and with it a token without the claim none", async () => {
    expect(await may({}, OWN, "model.use", "other")).toBe(true)
    const abilities = await auth({ models_claim: "models" })
    const principal = await abilities.authenticate(await sign({}), CONTEXT)
    expect(await abilities.authorize?.(principal ?? OWN, "model.use", "gpt-5", CONTEXT)).toBe(false)
    const granted = await abilities.authenticate(await sign({ models: "gpt-5 gpt-6" }), CONTEXT)
    expect(await abilities.authorize?.(granted ?? OWN, "model.use", "gpt-6", CONTEXT)).toBe(true)
  })

  test("callers of other origin may use every model, and no admin API", async () => {
    const other: Principal = { ...OWN, metadata: {} }
    const config = { models_claim: "models", admin_roles: ["ops"] }
    expect(await may(config, other, "model.use", "other")).toBe(true)
    expect(await may(config, other, "admin.read", "/admin/plugins")).toBe(false)
  })

  test.each(["admin.read", "admin.write"])("%s needs one of admin_roles", async (action) => {
    expect(await may({}, OWN, action, "/admin/plugins")).toBe(false)
    expect(await may({ admin_roles: ["other"] }, OWN, action, "/admin/plugins")).toBe(false)
    expect(await may({ admin_roles: ["other", "ops"] }, OWN, action, "/admin/plugins")).toBe(true)
  })

  test("an action that is not known is refused", async () => {
    expect(await may({}, OWN, "fly", "away")).toBe(false)
  })
})

describe("the config", () => {
  test.each<[string, Record<string, unknown>, string]>([
    ["no key at all", {}, "exactly one of"],
    ["two keys", { secret: SECRET, jwks_url: "http://127.0.0.1/" }, "exactly one of"],
    ["a short secret", { secret: "secret" }, "shorter than 32 bytes"],
    ["a key that is none", { public_key: "-----BEGIN PUBLIC KEY-----" }, "public_key is no RSA"],
    ["none as an algorithm", { secret: SECRET, algorithms: ["none"] }, '"none" does not fit'],
    [
      "a secret's algorithm for a JWKS",
      { jwks_url: "http://127.0.0.1/", algorithms: ["HS256"] },
      '"HS256" does not fit',
    ],
    [
      "a public key's algorithm for a secret",
      { secret: SECRET, algorithms: ["RS256"] },
      '"RS256" does not fit',
    ],
    ["a URL that is none", { jwks_url: "id.example.com" }, "must be a URL"],
  ])("%s is refused", async (_, config, message) => {
    await expect(authBy(config)).rejects.toThrow(message)
  })

  test("a secret's algorithm for a public key is refused", async () => {
    const config = { public_key: await exportSPKI(rsa.publicKey), algorithms: ["RS256", "HS256"] }
    await expect(authBy(config)).rejects.toThrow('"HS256" does not fit')
  })
})

describe("in a gateway", () => {
  const server = new KeyServer()
  afterAll(() => server[Symbol.dispose]())

  test("a token opens models and, with its role, the admin API; without the JWKS nothing", async () => {
    server.keys = [ec]
    await using gateway = await startGateway({
      config: {
        admin: { token: "an-admin-token" },
        plugins: {
          configs: {
            "example-provider": {},
            "jwt-auth": {
              config: {
                jwks_url: server.url,
                jwks_cooldown: "0s",
                models_claim: "models",
                admin_roles: ["ops"],
              },
            },
          },
        },
      },
    })
    const visit = async (path: string, token: string) => {
      const reply = await fetch(`${gateway.url}${path}`, { headers: { authorization: `Bearer ${token}` } })
      return reply.status === 200 ? await reply.json() : `${reply.status} ${(await errorOf(reply)).code}`
    }
    const operator = await sign({ models: ["demo"], roles: ["ops"] }, ec)
    expect(await visit("/v1/models", operator)).toMatchObject({ data: [{ id: "demo" }] })
    expect(await visit("/admin/plugins", operator)).toMatchObject({ count: expect.any(Number) })
    expect(await visit("/admin/plugins", await sign({ models: ["*"] }, ec))).toBe("403 forbidden")
    expect(await visit("/v1/models", "no-token")).toBe("401 invalid_api_key")

    server.status = 500
    expect(await visit("/v1/models", await sign({}, rsa))).toBe("503 plugin_failed")
    expect(gateway.logs()).not.toContain(operator)
  })
})
