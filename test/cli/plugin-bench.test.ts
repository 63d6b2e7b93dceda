import { describe, expect, test } from "bun:test"
import { newAuthor } from "./author.ts"

describe("plugin bench", () => {
  test("shows what each hook and ability costs, and what was not reached", async () => {
    const author = newAuthor()
    author.write(
      "plugins/watch.ts",
      `import { definePlugin, GatewayError, Type } from "leapgate/plugin"
export default definePlugin({
  name: "watch", version: "1.0.0", type: "middleware",
  config: Type.Object({ header: Type.String() }),
  setup: ({ config }) => ({
    beforeHandle({ setHeader }) { setHeader(config.header, "1") },
    onError() {},
    hooks: { onText: ({ text }) => text, onStreamEnd() {} },
  }),
})`,
    )
    author.write("config.yaml", "plugins: { configs: { watch: { config: { header: x-watched } } } }")
    const { exitCode, out } = await author.plugin("bench", "watch", "--rounds", "2")
    expect(exitCode).toBe(0)
    expect(out).toMatch(/^CALL +TIMES +P50 µs +P99 µs +THREW$/m)
    expect(out).toMatch(/^beforeHandle +200 +[\d.]+ +[\d.]+ +0$/m)
    expect(out).toMatch(/^onStreamEnd +40 +[\d.]+ +[\d.]+ +0$/m)
    expect(out).toContain("not called by this traffic: onError")
    expect(out).toMatch(/requests per second: [\d.]+ times those without the plugin \(median of 2 rounds/)
    expect(out).toContain("How this was measured")
    expect(out).not.toContain("refusals or failures")
  }, 20_000)

  test("asks a provider's own model, and says where replies are refusals", async () => {
    const author = newAuthor()
    author.write(
      "plugins/moody.ts",
      `import { definePlugin, GatewayError } from "leapgate/plugin"
export default definePlugin({
  name: "moody", version: "1.0.0", type: "provider",
  setup: () => ({ models: ["moody-1"], chat() { throw new GatewayError("upstream_rejected", "not today") } }),
})`,
    )
    const { out } = await author.plugin("bench", "moody", "--rounds", "1")
    expect(out).toMatch(/^provider\.chat +100 +[\d.]+ +[\d.]+ +100$/m)
    expect(out).toContain("100 of 100 replies were refusals or failures")
  }, 20_000)

  test("says why a plugin cannot be loaded", async () => {
    const author = newAuthor()
    author.write(
      "plugins/bad.ts",
      'export default { name: "bad", version: "1.0.0", type: "monitoring", setup() { throw new Error("no") } }',
    )
    expect(await author.plugin("bench", "bad")).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining('setup of plugin "bad" failed'),
    })
    expect(await author.plugin("bench", "bad", "--rounds", "0")).toMatchObject({ exitCode: 2 })
  })
})
