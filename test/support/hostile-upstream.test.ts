import { afterAll, describe, expect, test } from "bun:test"
import {
  DEBATABLE_STREAMS,
  FAULTS_AFTER_THE_FIRST_EVENT,
  FAULTS_BEFORE_THE_FIRST_EVENT,
  ODD_BUT_WHOLE_REPLIES,
  ODD_BUT_WHOLE_STREAMS,
  PLAIN_FAULTS,
} from "./hostile-faults.ts"
import { startHostileUpstream } from "./hostile-upstream.ts"
import { readStream, readWholeStream } from "./streamed-reply.ts"
import { HOSTILE_WORDS, talksForEver } from "./upstream-scripts.ts"
import { waitFor } from "./wait.ts"

// The tests of the gateway mean nothing where the upstream does not do what its tables say.
const upstream = startHostileUpstream()
afterAll(() => upstream.stop())

const WHOLE = HOSTILE_WORDS.join("")

describe("without a gateway in between", () => {
  test.each(Object.entries(ODD_BUT_WHOLE_STREAMS))("a stream that %s is whole", async (name, script) => {
    upstream.script(name, script)
    const stream = await readWholeStream(await ask(name, { stream: true }))
    expect(stream).toMatchObject({ text: WHOLE, finishReason: "stop", garbage: [], end: "clean" })
  })

  test.each(Object.entries(ODD_BUT_WHOLE_REPLIES))("a reply that %s is whole", async (name, script) => {
    upstream.script(name, script)
    const reply = (await (await ask(name)).json()) as { choices: { message: { content: string } }[] }
    expect(reply.choices[0]?.message.content).toBe(WHOLE)
  })

  test.each(Object.entries(FAULTS_BEFORE_THE_FIRST_EVENT))(
    "an upstream that %s gives no text",
    async (name, script) => {
      upstream.script(name, script)
      const stream = await readAtMost(150, ask(name, { stream: true, signal: AbortSignal.timeout(150) }))
      expect(stream?.text ?? "").toBe("")
    },
  )

  test.each(Object.entries(FAULTS_AFTER_THE_FIRST_EVENT))(
    "an upstream that %s has sent its first word and no finish_reason",
    async (name, script) => {
      upstream.script(name, script)
      const reader = readStream(await ask(name, { stream: true, signal: AbortSignal.timeout(150) }))
      await reader.untilText()
      upstream.proceed(name)
      const stream = await reader.rest()
      expect(stream.text).toStartWith(HOSTILE_WORDS[0])
      expect(stream.finishReason).toBeUndefined()
    },
  )

  test.each(Object.entries(PLAIN_FAULTS))("an upstream that %s gives no completion", async (name, script) => {
    upstream.script(name, script)
    const body = await ask(name, { signal: AbortSignal.timeout(150) })
      .then((response) => response.json())
      .catch(() => undefined)
    expect(body).not.toHaveProperty("choices")
  })

  test.each(Object.entries(DEBATABLE_STREAMS))("an upstream that %s has an answer", async (name, script) => {
    upstream.script(name, script)
    await ask(name, { stream: true }).catch(() => undefined)
    await waitFor("the answer to be written", () => (upstream.requests(name)[0]?.sentBytes ?? 0) > 200)
  })
})

test("the upstream sees that its client leaves, and can write no further than its client reads", async () => {
  upstream.script("endless", talksForEver(64 * 1024))
  const controller = new AbortController()
  await ask("endless", { stream: true, signal: controller.signal })
  const request = upstream.requests("endless")[0]
  await waitFor("the upstream to be held back", async () => {
    const before = request?.sentBytes ?? 0
    await Bun.sleep(100)
    return before > 0 && request?.sentBytes === before
  })
  controller.abort()
  await waitFor("the abort to be seen", () => request?.abortedAtMs)
  expect(request?.sentBytes).toBeLessThan(64 * 1024 * 1024)
})

interface AskOptions {
  readonly stream?: boolean
  readonly signal?: AbortSignal
}

function ask(model: string, { stream = false, signal }: AskOptions = {}): Promise<Response> {
  return fetch(`${upstream.url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "hi" }], stream }),
    signal: signal ?? null,
  })
}

async function readAtMost(ms: number, asking: Promise<Response>) {
  try {
    return await Promise.race([readWholeStream(await asking), Bun.sleep(ms).then(() => undefined)])
  } catch {
    return undefined
  }
}
