/** What looks like a secret: names of fields, and shapes of text. Every pattern takes linear time on any input. */
export const REDACTED = "[redacted]"

const SECRET_NAME =
  /(?:authorization|apikey|secret|password|passwd|passphrase|cookie|credential|(?:private|access|secret|signing|encryption)key)s?$|^(?:key|pwd|jwt)$/
const TOKEN_NAME = /tokens?$/
const SECRET_PARAMETER = /^(?:sig|code)$|signature$/

/** Whether a field of this name holds a secret. Numbers called tokens are counts: `max_tokens`, `first_token`. */
export function isSecretField(name: string, value?: unknown): boolean {
  const plain = plainName(name)
  return SECRET_NAME.test(plain) || (TOKEN_NAME.test(plain) && typeof value !== "number")
}

/** The text without anything that looks like a secret. */
export function withoutSecretShapes(text: string): string {
  return text
    .replace(SECRET_LINE, `$1${REDACTED}`)
    .replace(SCHEME, `$1 ${REDACTED}`)
    .replace(URL_CREDENTIALS, `${REDACTED}@`)
    .replace(URL_PARAMETER, (whole, start: string, name: string) =>
      isSecretParameter(name) ? `${start}${REDACTED}` : whole,
    )
    .replace(ASSIGNMENT, `$1${REDACTED}`)
    .replace(KEY_SHAPE, REDACTED)
}

/** Headers whose whole line is secret, in dumps of requests and in JSON. */
const SECRET_LINE = /(?<![a-z])((?:authorization|cookie)["']?\s*[:=]\s*["']?)[^\r\n"']+/gi
const SCHEME = /\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+/gi
const URL_CREDENTIALS = /(?<=:\/\/)[^\s/?#]+@/g
const URL_PARAMETER = /([?&;]([^=&;?#\s]{1,64})=)[^&;#\s"'<>]+/g
const ASSIGNMENT =
  /(?<![a-z])((?:api[-_]?key|secret(?:[-_]?key)?|password|passwd|(?:access|refresh|id|auth)[-_]?token)["']?\s*[:=]\s*["']?)[^\s"',;&)\]}]+/gi
/** Keys of well-known services (OpenAI, Anthropic, Groq, xAI, GitHub, GitLab, AWS, Google, Slack …) and JWTs. */
const KEY_SHAPE = new RegExp(
  [
    "(?<![A-Za-z0-9])(?:sk|gsk|pk|rk|gla|csk)[-_][A-Za-z0-9_*-]{6,}",
    "(?<![A-Za-z0-9])(?:xai|pplx|nvapi|glpat|xox[abeprs]|ghp|gho|ghu|ghs|ghr|github_pat|hf|r8)[-_][A-Za-z0-9_-]{16,}",
    "(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}",
    "(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{20,}",
    "(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_.-]+",
  ].join("|"),
  "g",
)

function isSecretParameter(name: string): boolean {
  return isSecretField(name) || SECRET_PARAMETER.test(plainName(name))
}

/** `X-Api-Key`, `api_key` and `apiKey` are one name; only its end tells. */
function plainName(name: string): string {
  return name
    .slice(-64)
    .toLowerCase()
    .replace(/[^a-z0-9]/g, "")
}
