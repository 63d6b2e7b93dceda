/** What must not be printed, told by the name it stands under. `first_token` is a duration. */
const SECRET_NAME = /(keys?|(?<!first_)tokens?|secrets?|passwords?|passphrases?|authorization|credentials?)$/i

/** Whether a value at this place, or something above it, is named like a secret. */
export function isSecretPath(segments: readonly string[]): boolean {
  return segments.some((segment) => segment === "headers" || SECRET_NAME.test(segment))
}

/** A copy with every secret replaced by `***`. Empty ones stay visible as empty. */
export function maskSecrets(value: unknown, name = ""): unknown {
  if (typeof value === "string") return masked(value, name)
  if (Array.isArray(value)) return value.map((item) => maskSecrets(item, name))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, maskSecrets(item, childName(name, key))]),
  )
}

function masked(text: string, name: string): string {
  if (text !== "" && SECRET_NAME.test(name)) return "***"
  return withoutUserinfo(text)
}

/** `https://user:password@host` without the first part. */
export function withoutUserinfo(text: string): string {
  return text.replace(/:\/\/[^/@\s]+@/g, "://***@")
}

/** A header's name does not tell whether its value is a secret: each is shown as one. */
const childName = (parent: string, key: string): string => (parent === "headers" ? "secret" : key)

/** Shorter ones may be ordinary words, such as the `key` of some plugin's cache: a log without them is no log. */
const MIN_SECRET_LENGTH = 8

/** Every secret that stands somewhere in the value, so that a log can leave it out. */
export function secretsIn(value: unknown, name = ""): readonly string[] {
  if (typeof value === "string") {
    return value.length >= MIN_SECRET_LENGTH && SECRET_NAME.test(name) ? [value] : []
  }
  if (Array.isArray(value)) return value.flatMap((item) => secretsIn(item, name))
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([key, item]) => secretsIn(item, key))
}
