import { expect, test } from "bun:test"
import { testPlugin } from "leapgate/testing"
import plugin from "./monitoring.ts"

test("answers, failures and tokens are counted and logged", async () => {
  await using app = await testPlugin(plugin, {
    config: { every: "20ms" },
    gateway: { routing: { max_retries: 0 } },
  })
  await app.chat("hello")
  app.upstream.fail(500)
  await app.chat("hello")
  // What observers do comes after the reply.
  await app.idle()
  const summary = { model: "test-model", answers: 1, failures: 1, tokens: 7 }
  await app.waitFor(() => app.logs.some((line) => Bun.deepMatch(summary, line)))
  expect(await app.abilities.export?.()).toContain('template_tokens_total{model="test-model"} 7\n')
})
