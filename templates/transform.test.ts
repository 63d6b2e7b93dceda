import { expect, test } from "bun:test"
import type { ChatCompletion, ChatRequest, TransformContext } from "leapgate/plugin"
import { testPlugin } from "leapgate/testing"
import plugin from "./transform.ts"

/** This plugin asks nothing of it. */
const context = {} as TransformContext

const request: ChatRequest = { model: "test-model", messages: [{ role: "user", content: "hello" }] }
const response: ChatCompletion = {
  id: "1",
  object: "chat.completion",
  created: 0,
  model: "test-model",
  choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }],
}

test("a request gets the limit, unless it has a lower one", async () => {
  await using app = await testPlugin(plugin, { config: { max_tokens: 100 } })
  const { transformRequest } = app.abilities
  expect(await transformRequest?.(request, context)).toEqual({ ...request, max_tokens: 100 })
  expect(await transformRequest?.({ ...request, max_tokens: 500 }, context)).toMatchObject({
    max_tokens: 100,
  })
  expect(await transformRequest?.({ ...request, max_tokens: 50 }, context)).toBeUndefined()
})

test("a reply is signed", async () => {
  await using app = await testPlugin(plugin, { config: { signature: " (by a machine)" } })
  const { transformResponse } = app.abilities
  expect(await transformResponse?.(response, context)).toMatchObject({
    choices: [{ message: { content: "hi (by a machine)" } }],
  })
})
