/** What a provider does with its connection after its whole answer is nothing that a client should see. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { postChat } from "../support/chat.ts"
import { streamedAnswer } from "../support/completions.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, type Script, startHostileUpstream } from "../support/hostile-upstream.ts"
import { readWholeStream } from "../support/streamed-reply.ts"
import { chunked, streamHead } from "../support/wire.ts"

const WORDS = ["all ", "of ", "it"]

let upstream: HostileUpstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = startHostileUpstream()
  upstream.script("resets", wholeAnswerThen("reset"))
  upstream.script("lingers", wholeAnswerThen("silence"))
  const timeout = { between_chunks: "300ms" }
  gateway = await startGateway({
    config: { providers: [{ name: "up", base_url: upstream.url, models: ["resets", "lingers"], timeout }] },
  })
})

afterAll(async () => {
  await gateway?.stop()
  upstream?.stop()
})

test.each(["resets", "lingers"])("a provider that %s after [DONE] has answered", async (model) => {
  const stream = await readWholeStream(await postChat(gateway.url, { model, stream: true }))
  expect(stream).toMatchObject({ text: WORDS.join(""), isDone: true, end: "clean", afterTheEnd: [] })
  expect(stream.error).toBeUndefined()
})

function wholeAnswerThen(ending: "reset" | "silence"): Script {
  return async ({ write, reset, request }) => {
    await write(streamHead())
    for (const event of streamedAnswer(request.model, WORDS)) await write(chunked(event))
    if (ending === "silence") return
    await Bun.sleep(20)
    reset()
  }
}
