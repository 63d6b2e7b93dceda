/** Lets callers in by JSON Web Tokens that somebody else issued: checked by a secret, a public key, or a JWKS. */
import {
  type CryptoKey,
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  importSPKI,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from "jose"
import { definePlugin, GatewayError, matcher, type Principal, Type } from "leapgate/plugin"

const SYMMETRIC = ["HS256", "HS384", "HS512"]
const ASYMMETRIC = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
]

export default definePlugin({
  name: "jwt-auth",
  version: "1.0.0",
  type: "auth",
  description: "Knows callers by JSON Web Tokens, and limits what they may use",
  metadata: { tags: ["auth"] },
  config: Type.Object({
    secret: Type.Optional(Type.String({ description: "For HS256, HS384 and HS512; at least 32 bytes" })),
    public_key: Type.Optional(Type.String({ description: "A public key as PEM" })),
    jwks_url: Type.Optional(
      Type.String({
        pattern: "^https?://[^\\s]+$",
        errorMessage: 'must be a URL such as "https://id.example.com/.well-known/jwks.json"',
        description: "Where the issuer publishes its public keys",
      }),
    ),
    jwks_timeout: Type.Duration({ default: "4s", description: "Of one request to jwks_url" }),
    jwks_cooldown: Type.Duration({
      default: "30s",
      description: "Between two looks for a key that is not there",
    }),
    algorithms: Type.Optional(
      Type.Array(Type.String(), { minItems: 1, description: "Without it, all that fit the key" }),
    ),
    issuer: Type.Optional(Type.String({ description: 'What "iss" must be' })),
    audience: Type.Optional(Type.String({ description: 'What "aud" must be or contain' })),
    clock_tolerance: Type.Duration({ default: "0s", description: "How far clocks may differ" }),
    name_claim: Type.String({ default: "sub" }),
    roles_claim: Type.String({ default: "roles" }),
    permissions_claim: Type.String({ default: "scope" }),
    models_claim: Type.Optional(Type.String({ description: "A list of the models that the caller may use" })),
    admin_roles: Type.Array(Type.String(), { default: [], description: "Roles that may use the admin API" }),
  }),

  async setup({ config }) {
    const { key, algorithms } = await keyOf(config)
    const toleranceMs = config.clock_tolerance
    const options = {
      algorithms,
      clockTolerance: toleranceMs / 1000,
      ...(config.issuer !== undefined && { issuer: config.issuer }),
      ...(config.audience !== undefined && { audience: config.audience }),
    }

    return {
      async authenticate(token) {
        if (!isJwt(token)) return undefined
        return principalOf(await verified(token))
      },

      authorize({ metadata, roles }, action, resource) {
        const isOwn = metadata[MARK] === MARK_VALUE
        if (action !== "model.use") return isOwn && roles.some((role) => config.admin_roles.includes(role))
        if (!isOwn || config.models_claim === undefined) return true
        return matcher(textsIn(metadata.models))(resource)
      },
    }

    async function verified(token: string): Promise<JWTPayload> {
      try {
        return (await jwtVerify(token, key, options)).payload
      } catch (thrown) {
        if (!(thrown instanceof errors.JWKSMultipleMatchingKeys)) throw refusalOf(thrown)
        return verifiedByOneOf(token, thrown)
      }
    }

    /** A JWKS may have several keys that fit a token which does not say which one it was signed with. */
    async function verifiedByOneOf(
      token: string,
      keys: errors.JWKSMultipleMatchingKeys,
    ): Promise<JWTPayload> {
      for await (const one of keys) {
        try {
          return (await jwtVerify(token, one, options)).payload
        } catch (thrown) {
          if (!(thrown instanceof errors.JWSSignatureVerificationFailed)) throw refusalOf(thrown)
        }
      }
      throw refusalOf(new errors.JWSSignatureVerificationFailed())
    }

    function principalOf(claims: JWTPayload): Principal {
      const name = claimOf(claims, config.name_claim)
      if (typeof name !== "string" || name === "") {
        throw refused(`it has no claim "${config.name_claim}" that is text`)
      }
      const models = config.models_claim === undefined ? undefined : claimOf(claims, config.models_claim)
      return {
        name,
        via: "plugin",
        ...(typeof claims.sub === "string" && claims.sub !== "" && { userId: claims.sub }),
        roles: textsIn(claimOf(claims, config.roles_claim)),
        permissions: textsIn(claimOf(claims, config.permissions_claim)),
        metadata: {
          [MARK]: MARK_VALUE,
          ...(claims.iss !== undefined && { issuer: claims.iss }),
          ...(config.models_claim !== undefined && { models: textsIn(models) }),
        },
        ...(claims.exp !== undefined && { expiresAtMs: claims.exp * 1000 + toleranceMs }),
      }
    }
  },
})

/** Tells this plugin's principals from those of others. */
const MARK = "authenticated_by"
const MARK_VALUE = "jwt-auth"

interface KeySettings {
  readonly secret?: string
  readonly public_key?: string
  readonly jwks_url?: string
  readonly jwks_timeout: number
  readonly jwks_cooldown: number
  readonly algorithms?: readonly string[]
}

interface VerificationKey {
  readonly key: JWTVerifyGetKey
  readonly algorithms: string[]
}

/** Which algorithms there are depends on the key alone: a public key can never be taken for a secret. */
async function keyOf(settings: KeySettings): Promise<VerificationKey> {
  const { secret, public_key: pem, jwks_url: url } = settings
  if ([secret, pem, url].filter((given) => given !== undefined).length !== 1) {
    throw misconfigured("needs exactly one of secret, public_key and jwks_url")
  }
  if (secret !== undefined) {
    const bytes = new TextEncoder().encode(secret)
    if (bytes.byteLength < 32) throw misconfigured("secret is shorter than 32 bytes, so it could be guessed")
    return { key: async () => bytes, algorithms: chosen(settings, SYMMETRIC) }
  }
  if (pem !== undefined) return publicKey(pem, settings)
  const { jwks_timeout: timeoutDuration, jwks_cooldown: cooldownDuration } = settings
  const set = createRemoteJWKSet(new URL(url ?? ""), { timeoutDuration, cooldownDuration })
  return { key: set, algorithms: chosen(settings, ASYMMETRIC) }
}

/** The algorithms that fit a key are those by which it can be read. */
async function publicKey(pem: string, settings: KeySettings): Promise<VerificationKey> {
  const keys = new Map<string, CryptoKey>()
  for (const algorithm of ASYMMETRIC) {
    const key = await importSPKI(pem, algorithm).catch(() => undefined)
    if (key !== undefined) keys.set(algorithm, key)
  }
  if (keys.size === 0) {
    // Why is not said: the fault's own words might repeat the key.
    throw misconfigured("public_key is no RSA, EC (P-256, P-384, P-521) or Ed25519 key as PEM (SPKI)")
  }
  return {
    algorithms: chosen(settings, [...keys.keys()]),
    async key({ alg = "" }) {
      const key = keys.get(alg)
      if (key === undefined) throw new errors.JOSEAlgNotAllowed()
      return key
    },
  }
}

function chosen({ algorithms }: KeySettings, fitting: readonly string[]): string[] {
  const misfit = algorithms?.find((algorithm) => !fitting.includes(algorithm))
  if (misfit === undefined) return [...(algorithms ?? fitting)]
  throw misconfigured(
    `algorithms: ${JSON.stringify(misfit)} does not fit the key, for which there are ${fitting.join(", ")}`,
  )
}

function misconfigured(what: string): GatewayError {
  return new GatewayError("plugin_config_invalid", `plugins.configs.jwt-auth.config ${what}`)
}

/** Anything else is another plugin's business. */
function isJwt(token: string): boolean {
  if (token.split(".").length !== 3) return false
  try {
    return typeof decodeProtectedHeader(token).alg === "string"
  } catch {
    return false
  }
}

/** What is wrong with the token is a refusal; what is wrong with the key's source is a failure, which is one too. */
function refusalOf(thrown: unknown): unknown {
  if (thrown instanceof errors.JWTExpired) return refused("it has expired")
  if (thrown instanceof errors.JWTClaimValidationFailed) {
    return refused(`its claim "${thrown.claim}" is not accepted`)
  }
  if (thrown instanceof errors.JWSSignatureVerificationFailed) return refused("its signature is not valid")
  if (thrown instanceof errors.JOSEAlgNotAllowed) return refused("its algorithm is not accepted")
  if (thrown instanceof errors.JWKSNoMatchingKey) return refused("it was signed with a key that is not known")
  const isMalformed = [errors.JWSInvalid, errors.JWTInvalid, errors.JOSENotSupported].some(
    (fault) => thrown instanceof fault,
  )
  return isMalformed ? refused("it is malformed") : thrown
}

function refused(why: string): GatewayError {
  return new GatewayError("invalid_api_key", `the token is refused: ${why}`, {
    headers: { "www-authenticate": 'Bearer error="invalid_token"' },
  })
}

/** A claim by its name, or inside of others: `realm_access.roles`. */
function claimOf(claims: JWTPayload, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const part of name.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Readonly<Record<string, unknown>>)[part]
  }
  return value
}

/** A list of text, or text with spaces between, as OAuth writes scopes. What is neither gives nothing. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === "string") return value.split(" ").filter((item) => item !== "")
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : []
}
