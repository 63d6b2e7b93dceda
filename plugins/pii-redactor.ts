/**
 * Takes personal data out of requests, before a provider sees them, and out of replies, before the client does.
 *
 * Every built-in pattern looks at a character a bounded number of times, whatever the text: nobody can make one slow.
 */
import {
  type ChatRequest,
  type DeepReadonly,
  definePlugin,
  type EmbeddingRequest,
  GatewayError,
  TEXT_WINDOW,
  Type,
} from "leapgate/plugin"

const PATTERNS = ["email", "credit_card", "iban", "phone", "ip", "us_ssn"] as const

export default definePlugin({
  name: "pii-redactor",
  version: "1.0.0",
  type: "transform",
  description: "Takes e-mail addresses, card numbers and other personal data out of requests and replies",
  metadata: { tags: ["privacy"] },
  config: Type.Object({
    patterns: Type.Array(Type.Union(PATTERNS.map((name) => Type.Literal(name))), {
      default: ["email", "credit_card", "iban"],
      description: "What is looked for",
    }),
    custom: Type.Array(
      Type.Object({
        name: Type.String({ minLength: 1 }),
        pattern: Type.String({ minLength: 1, description: "A regular expression, as in JavaScript" }),
        replacement: Type.Optional(Type.String()),
      }),
      { default: [], description: "More patterns" },
    ),
    requests: Type.Boolean({ default: true, description: "Whether the text of messages is changed" }),
    responses: Type.Boolean({ default: true, description: "Whether the text of replies is changed" }),
    replacement: Type.String({
      default: "[{name}]",
      description: "What is put in place; {name} stands for the pattern's name",
    }),
  }),

  setup({ config: { patterns, custom, requests, responses, replacement } }) {
    const rules: readonly Rule[] = [
      ...patterns.map((name) => ({
        find: FINDERS[name],
        replacement: replacement.replaceAll("{name}", name),
      })),
      ...custom.map(({ name, pattern, ...own }, index) => ({
        find: customFinder(pattern, `plugins.configs.pii-redactor.config.custom[${index}].pattern`),
        replacement: (own.replacement ?? replacement).replaceAll("{name}", name),
      })),
    ]
    refuseEndless(rules)
    const redactText = (text: string) => redact(text, rules)

    return {
      // Nearest to the provider: it sees what the others add.
      priority: 10,
      supportsFormat: (format) => format === "openai-chat" || format === "openai-embeddings",
      ...(requests && {
        transformRequest: (request) => redactRequest(request, redactText),
        transformEmbeddingRequest: (request) => redactInput(request, redactText),
      }),
      ...(responses && {
        hooks: { onText: ({ text, isFinal }) => redact(text, rules, isFinal ? 0 : LOOK_AHEAD) },
      }),
    }
  },
})

/** Part of a text, from a place up to another one. */
interface Span {
  readonly start: number
  readonly end: number
}

type Finder = (text: string) => Iterable<Span>

interface Rule {
  readonly find: Finder
  readonly replacement: string
}

/** A match this near to the end of a text that goes on may be the beginning of a longer one: `a@b.co` of `a@b.co.uk`. */
const LOOK_AHEAD = 4

/** @param openChars how many characters at the end are not decided about yet */
function redact(text: string, rules: readonly Rule[], openChars = 0): string {
  let redacted = ""
  let from = 0
  for (const { start, end, replacement } of spansIn(text, rules)) {
    // What is left undecided must be shown again: it must lie in the part that the gateway holds back.
    if (end > text.length - openChars && text.length - start <= TEXT_WINDOW) break
    redacted += text.slice(from, start) + replacement
    from = end
  }
  return redacted + text.slice(from)
}

/** In order; those that overlap are one. */
function spansIn(text: string, rules: readonly Rule[]): readonly (Span & Pick<Rule, "replacement">)[] {
  const spans: (Span & Pick<Rule, "replacement">)[] = []
  for (const { find, replacement } of rules) {
    for (const { start, end } of find(text)) spans.push({ start, end, replacement })
  }
  if (spans.length < 2) return spans
  const merged: typeof spans = []
  for (const span of spans.sort((a, b) => a.start - b.start || b.end - a.end)) {
    const last = merged.at(-1)
    if (last === undefined || span.start >= last.end) merged.push(span)
    else if (span.end > last.end) merged.splice(-1, 1, { ...last, end: span.end })
  }
  return merged
}

function redactRequest(
  request: DeepReadonly<ChatRequest>,
  redactText: (text: string) => string,
): DeepReadonly<ChatRequest> | undefined {
  let isChanged = false
  const messages = request.messages.map((message) => {
    // Clients may send anything as a message; the provider is to judge it.
    const content = message?.content ?? undefined
    const redacted = content && redactContent(content, redactText)
    if (redacted === undefined || redacted === content) return message
    isChanged = true
    return { ...message, content: redacted }
  })
  return isChanged ? { ...request, messages } : undefined
}

/** Token ids are no text: they pass as they are. */
function redactInput(
  request: DeepReadonly<EmbeddingRequest>,
  redactText: (text: string) => string,
): DeepReadonly<EmbeddingRequest> | undefined {
  const { input } = request
  if (typeof input === "string") return { ...request, input: redactText(input) }
  const texts = input.filter((item) => typeof item === "string")
  return texts.length === 0 ? undefined : { ...request, input: texts.map(redactText) }
}

type Content = NonNullable<DeepReadonly<ChatRequest>["messages"][number]["content"]>

function redactContent(content: Content, redactText: (text: string) => string): Content {
  if (typeof content === "string") return redactText(content)
  if (!Array.isArray(content)) return content
  let isChanged = false
  const parts = (content as Exclude<Content, string>).map((part) => {
    if (typeof part?.text !== "string") return part
    const text = redactText(part.text)
    if (text === part.text) return part
    isChanged = true
    return { ...part, text }
  })
  return isChanged ? parts : content
}

/** Text that is held back is looked at again, so what a replacement says must not be found in turn. */
function refuseEndless(rules: readonly Rule[]): void {
  for (const { replacement } of rules) {
    if (spansIn(replacement, rules).length === 0) continue
    throw new GatewayError(
      "plugin_config_invalid",
      `plugins.configs.pii-redactor.config: the replacement "${replacement}" is itself matched by a pattern; choose another one`,
    )
  }
}

/** @throws GatewayError `plugin_config_invalid` */
function customFinder(pattern: string, path: string): Finder {
  try {
    const find = byRegExp(new RegExp(pattern, "gu"))
    if (new RegExp(pattern, "u").exec("") === null) return find
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new GatewayError("plugin_config_invalid", `${path} is no regular expression: ${reason}`, { cause })
  }
  throw new GatewayError("plugin_config_invalid", `${path} also matches no text at all; let it match some`)
}

const OCTET = "(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)"
const ip4 = byRegExp(new RegExp(`(?<![\\d.])(?:${OCTET}\\.){3}${OCTET}(?!\\.?\\d)`, "g"))

const FINDERS = {
  email: findEmails,
  credit_card: findCards,
  iban: findIbans,
  // International, and North American without the +1.
  phone: byRegExp(
    /(?<![\w+])\+\d(?:[ .()/-]{0,2}\d){7,14}(?!\d)|(?<![\w-])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])/g,
  ),
  *ip(text) {
    yield* ip4(text)
    yield* findIp6(text)
  },
  us_ssn: byRegExp(/(?<![\w-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])/g),
} as const satisfies Record<(typeof PATTERNS)[number], Finder>

function byRegExp(expression: RegExp): Finder {
  return function* find(text) {
    for (const { 0: match, index } of text.matchAll(expression)) {
      if (match !== "") yield { start: index, end: index + match.length }
    }
  }
}

const MAX_LOCAL_PART = 64
const LOCAL_PART = /[\p{L}\p{N}._%+'-]/u

/** Starts from the `@`, which is rare. */
function* findEmails(text: string): Iterable<Span> {
  const domain = /(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,63}/uy
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
    let start = at
    while (start > at - MAX_LOCAL_PART && LOCAL_PART.test(text.charAt(start - 1))) start--
    domain.lastIndex = at + 1
    if (start < at && domain.test(text)) yield { start, end: domain.lastIndex }
  }
}

const NOT_A_DIGIT = -1

function digitAt(text: string, at: number): number {
  const value = text.charCodeAt(at) - 0x30
  return value >= 0 && value <= 9 ? value : NOT_A_DIGIT
}

function isSeparatorAt(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  return code === 0x20 || code === 0x2d || code === 0xa0
}

/** 13 to 19 digits, in groups or not, of which the first and the last one begin and end a group. */
function* findCards(text: string): Iterable<Span> {
  let from = 0
  for (const { index: start } of text.matchAll(/(?<!\d)[2-6]/g)) {
    const end = start < from ? undefined : endOfCard(text, start)
    if (end === undefined) continue
    yield { start, end }
    from = end
  }
}

/** Of several ends the last one counts. */
function endOfCard(text: string, start: number): number | undefined {
  const digits: number[] = []
  let end: number | undefined
  for (let at = start; digits.length < 20; at++) {
    const digit = digitAt(text, at)
    const isEndOfGroup = digitAt(text, at + 1) === NOT_A_DIGIT
    if (digit === NOT_A_DIGIT) {
      if (isEndOfGroup || !isSeparatorAt(text, at)) break
    } else {
      digits.push(digit)
      if (isEndOfGroup && digits.length >= 13 && digits.length <= 19 && hasCheckDigit(digits)) end = at + 1
    }
  }
  return end
}

/** Luhn's check: from the right, every second digit counts twice, by its own digits. Source: ISO/IEC 7812-1 */
function hasCheckDigit(digits: readonly number[]): boolean {
  const sum = digits.reduce((total, digit, at) => {
    const isDoubled = (digits.length - at) % 2 === 0
    if (!isDoubled) return total + digit
    return total + (digit > 4 ? digit * 2 - 9 : digit * 2)
  }, 0)
  return sum % 10 === 0
}

/** How long an IBAN is in each country. Source: the SWIFT IBAN registry */
const IBAN_LENGTHS = new Map(
  (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 " +
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 " +
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 " +
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
  )
    .split(" ")
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
)

function* findIbans(text: string): Iterable<Span> {
  for (const { 0: head, index: start } of text.matchAll(/(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}/g)) {
    const length = IBAN_LENGTHS.get(head.slice(0, 2).toUpperCase())
    const end = length === undefined ? undefined : endOfIban(text, start, length)
    if (end !== undefined) yield { start, end }
  }
}

/** Letters count as 10 to 35, the first four characters come last, and 97 leaves 1. Source: ISO 13616 */
function endOfIban(text: string, start: number, length: number): number | undefined {
  const values: number[] = []
  let at = start
  for (; values.length < length; at++) {
    const value = Number.parseInt(text.charAt(at), 36)
    if (!Number.isNaN(value)) values.push(value)
    else if (!isSeparatorAt(text, at) || isSeparatorAt(text, at - 1)) return undefined
  }
  if (/[A-Za-z0-9]/.test(text.charAt(at))) return undefined
  const remainder = [...values.slice(4), ...values.slice(0, 4)].reduce(
    (rest, value) => (rest * (value > 9 ? 100 : 10) + value) % 97,
    0,
  )
  return remainder === 1 ? at : undefined
}

/** Eight groups, or fewer with one `::`; without any digit it is rather C++. Source: RFC 4291 */
function* findIp6(text: string): Iterable<Span> {
  for (const { 0: run, index } of text.matchAll(/(?<![\w:])[0-9A-Fa-f:]{2,40}(?![\w:])/g)) {
    const address = run.endsWith(":") && !run.endsWith("::") ? run.slice(0, -1) : run
    const halves = address.split("::")
    const groups = halves.flatMap((half) => (half === "" ? [] : half.split(":")))
    const isWhole = halves.length === 1 ? groups.length === 8 : halves.length === 2 && groups.length < 8
    if (isWhole && /\d/.test(address) && groups.every((group) => /^[0-9A-Fa-f]{1,4}$/.test(group))) {
      yield { start: index, end: index + address.length }
    }
  }
}
