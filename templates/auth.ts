/** Knows callers by tokens of the form `name.signature`, signed with a secret of yours. */
import { type AuthAbilities, definePlugin, GatewayError, type Principal, Type } from "leapgate/plugin"

export default definePlugin({
  name: "template-auth",
  version: "1.0.0",
  type: "auth",
  description: "Callers with signed tokens",
  config: Type.Object({
    // "${TOKEN_SECRET}" in config.yaml takes it from the environment.
    secret: Type.String({
      default: "",
      description: "What tokens are signed with. Empty: no token is known",
    }),
    models: Type.Array(Type.String(), {
      default: [],
      description: "What callers may use. Empty: every model",
    }),
  }),

  // An auth plugin fails closed: what it throws, and what takes it too long, is a refusal.
  async setup({ config }): Promise<AuthAbilities> {
    const key = config.secret === "" ? undefined : await signingKey(config.secret)

    return {
      // Asked for each credential that is none of the configured keys.
      async authenticate(token): Promise<Principal | undefined> {
        const [, name, signature] = /^([\w-]+)\.([0-9a-f]{64})$/.exec(token) ?? []
        // Not of this form: another plugin may know it.
        if (name === undefined || signature === undefined || key === undefined) return undefined
        // `verify` takes as long for a bad signature as for a good one.
        const isGood = await crypto.subtle.verify(
          "HMAC",
          key,
          bytesOf(signature),
          new TextEncoder().encode(name),
        )
        if (!isGood) throw new GatewayError("invalid_api_key", "the token's signature is wrong")
        return { name, via: "plugin", userId: name, roles: ["caller"], permissions: [], metadata: {} }
      },

      // Asked for every caller, also those that others have authenticated.
      authorize(principal, action, resource) {
        if (principal.via !== "plugin" || action !== "model.use") return true
        return config.models.length === 0 || config.models.includes(resource)
      },
    }
  },
})

function signingKey(secret: string): Promise<CryptoKey> {
  const algorithm = { name: "HMAC", hash: "SHA-256" }
  return crypto.subtle.importKey("raw", new TextEncoder().encode(secret), algorithm, false, ["verify"])
}

function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}
