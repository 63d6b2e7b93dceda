import { describe, expect, test } from "bun:test"
import {
  type ChatRequest,
  TEXT_WINDOW,
  type TransformAbilities,
  type TransformContext,
} from "leapgate/plugin"
import { ANONYMOUS, setUpPlugin } from "../test/plugin-context.ts"
import piiRedactor from "./pii-redactor.ts"

const ALL = ["email", "credit_card", "iban", "phone", "ip", "us_ssn"]

const setUp = async (config: Record<string, unknown> = {}): Promise<TransformAbilities & Hooked> =>
  (await setUpPlugin(piiRedactor, { config })).abilities

interface Hooked {
  readonly hooks?: { onText?(event: TextEvent, context: TransformContext): unknown }
}
type TextEvent = TransformContext & { text: string; choice: number; isFinal: boolean }

const CONTEXT: TransformContext = {
  requestId: "request-1",
  traceId: "0".repeat(32),
  generation: 1,
  model: "m",
  provider: "up",
  stream: false,
  principal: ANONYMOUS,
  userId: undefined,
  operation: "chat",
  startTime: 0,
  attempt: 1,
  metadata: {},
  values: new Map(),
  signal: new AbortController().signal,
}

async function reply(text: string, config: Record<string, unknown> = {}, isFinal = true): Promise<unknown> {
  const { hooks } = await setUp(config)
  return hooks?.onText?.({ ...CONTEXT, text, choice: 0, isFinal }, CONTEXT)
}

describe("what is found", () => {
  test.each<[string, string, string]>([
    ["email", "joe@example.com", "[email]"],
    ["email", "write to Joe.Doe+news@mail.example.co.uk!", "write to [email]!"],
    ["email", "jörg@müller.example, anna@b.de", "[email], [email]"],
    ["email", `${"x".repeat(70)}@example.com`, `${"x".repeat(6)}[email]`],
    ["credit_card", "4111111111111111", "[credit_card]"],
    ["credit_card", "card 4111 1111 1111 1111.", "card [credit_card]."],
    ["credit_card", "3782-822463-10005", "[credit_card]"],
    ["credit_card", "order 5 4111 1111 1111 1111 of 2", "order 5 [credit_card] of 2"],
    ["credit_card", "6304 0000 0000 0000 000", "[credit_card]"],
    ["iban", "DE89 3704 0044 0532 0130 00 is mine", "[iban] is mine"],
    ["iban", "GB82WEST12345698765432", "[iban]"],
    ["iban", "de89-3704-0044-0532-0130-00", "[iban]"],
    ["iban", "MT84MALT011000012345MTLCAST001S", "[iban]"],
    ["phone", "+49 (30) 901820, +1-555-123-4567", "[phone], [phone]"],
    ["phone", "call (555) 123-4567 or 555-123-4567", "call [phone] or [phone]"],
    ["ip", "from 192.168.0.1 to 10.0.0.255.", "from [ip] to [ip]."],
    ["ip", "at 2001:db8::8a2e:370:7334, ::1, fe80:0:0:0:1:2:3:4", "at [ip], [ip], [ip]"],
    ["ip", "see ::ffff:192.168.0.1", "see [ip]"],
    ["us_ssn", "078-05-1120 or 078 05 1120", "[us_ssn] or [us_ssn]"],
  ])("%s: %p", async (pattern, text, expected) => {
    expect(await reply(text, { patterns: [pattern] })).toBe(expected)
  })

  test.each<[string, string]>([
    ["email", "user@host, @name, a @ b.com"],
    ["credit_card", "4111 1111 1111 1112"],
    ["credit_card", "1700000000000 and 12345678901234567890"],
    ["credit_card", "4111  1111  1111  1111"],
    ["credit_card", "94111111111111111"],
    ["iban", "DE89 3704 0044 0532 0130 01"],
    ["iban", "XX89 3704 0044 0532 0130 00"],
    ["iban", "DE89370400440532013000A"],
    ["phone", "2024-01-01, 1234567890, a+12345678901"],
    ["ip", "1.2.3, 256.1.1.1, 1.2.3.4.5, 12:30:45, std::vector, a::b, aa:bb:cc:dd:ee:ff"],
    ["us_ssn", "000-12-3456, 666-12-3456, 078-05-11205, 078-05 1120"],
  ])("%s is not %p", async (pattern, text) => {
    expect(await reply(text, { patterns: [pattern] })).toBe(text)
  })

  test("without settings it is addresses, cards and IBANs", async () => {
    const text = "a@b.example 4111111111111111 DE89370400440532013000 078-05-1120"
    expect(await reply(text)).toBe("[email] [credit_card] [iban] 078-05-1120")
  })

  test("matches that overlap are taken out together", async () => {
    const custom = [{ name: "greeting", pattern: "hello \\w+" }]
    expect(await reply("hello joe@example.com", { custom })).toBe("[greeting]")
  })

  test("custom patterns and replacements", async () => {
    const custom = [
      { name: "badge", pattern: "B-\\d{4}" },
      { name: "code", pattern: "\\p{Lu}{3}\\d", replacement: "***" },
    ]
    expect(await reply("B-1234 ABC1 a@b.example", { custom, replacement: "<{name}>" })).toBe(
      "<badge> *** <email>",
    )
  })
})

describe("text that goes on", () => {
  test("a match that may become longer is left for the next time", async () => {
    expect(await reply("mail joe@example.co", {}, false)).toBe("mail joe@example.co")
    expect(await reply("mail joe@example.co.", {}, false)).toBe("mail joe@example.co.")
    expect(await reply("mail joe@example.co and", {}, false)).toBe("mail [email] and")
  })

  test("one that begins before what is held back is taken out at once", async () => {
    const address = `joe@${"x".repeat(TEXT_WINDOW - 1)}.com`
    expect(await reply(`mail ${address}`, {}, false)).toBe("mail [email]")
  })

  test("what was taken out stays as it is", async () => {
    const once = await reply("mail joe@example.com, card 4111111111111111 etc.", {}, false)
    expect(await reply(String(once), {}, false)).toBe(once)
  })
})

describe("requests", () => {
  const request: ChatRequest = {
    model: "m",
    temperature: 0,
    messages: [
      { role: "system", content: "be brief" },
      { role: "user", content: "I am joe@example.com" },
      {
        role: "user",
        content: [
          { type: "text", text: "card 4111111111111111" },
          { type: "image_url", image_url: { url: "https://x.example/a@b.example" } },
        ],
      },
      { role: "assistant", content: null, tool_calls: [] },
    ],
  }

  test("have their text changed, and nothing else", async () => {
    const { transformRequest } = await setUp()
    const changed = await transformRequest?.(request, CONTEXT)
    const [first, second, third, fourth] = request.messages
    expect(changed as unknown).toEqual({
      ...request,
      messages: [
        first,
        { ...second, content: "I am [email]" },
        { ...third, content: [{ type: "text", text: "card [credit_card]" }, third?.content?.[1]] },
        fourth,
      ],
    })
  })

  test("without personal data are left as they are", async () => {
    const { transformRequest } = await setUp()
    expect(
      await transformRequest?.({ model: "m", messages: [{ role: "user", content: "hi" }] }, CONTEXT),
    ).toBe(undefined)
  })

  test("with messages that are none are for the provider to judge", async () => {
    const { transformRequest } = await setUp()
    const strange = { model: "m", messages: [null, 5, "a@b.example", { content: [null, 1, {}] }, {}] }
    expect(await transformRequest?.(strange as unknown as ChatRequest, CONTEXT)).toBeUndefined()
  })
})

test("either direction can be switched off", async () => {
  const inward = await setUp({ responses: false })
  expect(inward.transformRequest).toBeFunction()
  expect(inward.hooks).toBeUndefined()
  const outward = await setUp({ requests: false })
  expect(outward.transformRequest).toBeUndefined()
  expect(outward.hooks?.onText).toBeFunction()
})

test("it knows OpenAI's format only", async () => {
  const { supportsFormat } = await setUp()
  expect([supportsFormat("openai-chat"), supportsFormat("other")]).toEqual([true, false])
})

describe("settings", () => {
  test.each<[Record<string, unknown>, string]>([
    [{ patterns: ["passport"] }, "plugins.configs.pii-redactor.config.patterns[0]"],
    [{ custom: [{ name: "x", pattern: "(" }] }, "custom[0].pattern is no regular expression"],
    [{ custom: [{ name: "x", pattern: "a*" }] }, "custom[0].pattern also matches no text at all"],
    [{ custom: [{ pattern: "a" }] }, "custom[0].name"],
    [{ replacement: "nobody@example.com" }, 'the replacement "nobody@example.com" is itself matched'],
    [{ custom: [{ name: "x", pattern: "secret", replacement: "a secret" }] }, "is itself matched"],
  ])("%j is refused", async (config, message) => {
    await expect(setUp(config)).rejects.toThrow(message)
  })
})

/** Bounded work for every character, so no text of a megabyte takes more than a few seconds on a busy machine. */
test.each([
  "a",
  "1",
  "@",
  "a@",
  "a@a.",
  "a.",
  "4 ",
  "4111 1111 1111 1111 ",
  "DE89 ",
  "+1 ",
  "255.",
  "::",
  "f:1:",
  "(555) ",
  "555-55-",
  "a@b.c.d.e.f.g.h.i.1 ",
  `a@${"b".repeat(63)}.`,
])(
  "a megabyte of %p is read to its end",
  async (piece) => {
    const text = piece.repeat(2 ** 20 / piece.length)
    expect(typeof (await reply(text, { patterns: ALL }))).toBe("string")
  },
  10_000,
)
