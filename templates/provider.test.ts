import { expect, test } from "bun:test"
import { testPlugin } from "leapgate/testing"
import plugin from "./provider.ts"

test("it answers, plain and streamed", async () => {
  await using app = await testPlugin(plugin)
  const plain = await app.chat("one two three", { model: "word-count" })
  expect(plain).toMatchObject({ status: 200, text: "3 words" })

  const streamed = await app.chat("one two", { model: "word-count", stream: true })
  expect(streamed.text).toBe("2 words")
  expect(streamed.chunks.at(-1)?.choices[0]?.finish_reason).toBe("stop")
})

test("its models are those of its config", async () => {
  await using app = await testPlugin(plugin, { config: { models: ["counter-2"] } })
  expect((await app.chat("one", { model: "template-provider/counter-2" })).text).toBe("1 words")
})
