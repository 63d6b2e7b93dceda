import { describe, expect, test } from "bun:test"
import { newAuthor } from "./author.ts"

describe("plugin new", () => {
  test("writes a plugin, its test and the SDK, and says what is next", async () => {
    const author = newAuthor()
    const { exitCode, out, err } = await author.plugin("new", "my-cache", "--type", "cache")
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" })
    expect(author.read("plugins/my-cache.ts")).toContain('name: "my-cache"')
    expect(author.read("plugins/my-cache.test.ts")).toContain('import plugin from "./my-cache.ts"')
    expect(author.read("plugins/my-cache.ts") + author.read("plugins/my-cache.test.ts")).not.toContain(
      "template",
    )
    expect(author.has("plugins/node_modules/leapgate/package.json")).toBe(true)
    expect(author.has("plugins/tsconfig.json")).toBe(true)
    for (const next of [
      "test my-cache",
      "verify my-cache",
      "bench my-cache",
      "plugins.configs.my-cache.config",
    ]) {
      expect(out).toContain(next)
    }
  })

  test("says of an auth plugin that callers need a credential from then on", async () => {
    const { out } = await newAuthor().plugin("new", "door", "--type", "auth")
    expect(out).toContain("callers on this machine need a credential too")
    expect((await newAuthor().plugin("new", "door", "--type", "router")).out).not.toContain("credential")
  })

  test("writes into the plugin directory of the config", async () => {
    const author = newAuthor()
    author.write("here/gateway.yaml", "plugins: { directory: ../there }")
    const { exitCode, out } = await author.plugin(
      "new",
      "a",
      "--type",
      "router",
      "--config",
      "here/gateway.yaml",
    )
    expect(exitCode).toBe(0)
    expect(author.has("there/a.ts")).toBe(true)
    expect(out).toContain("leapgate plugin test a --config here/gateway.yaml")
  })

  test.each(["My-Plugin", "my_plugin", "-a", "hooks", "../a", "a".repeat(65)])(
    "refuses the name %j",
    async (name) => {
      const author = newAuthor()
      const { exitCode, err } = await author.plugin("new", "--type", "cache", "--", name)
      expect(exitCode).toBe(1)
      expect(err).toContain("must be lower-case letters and digits with dashes between")
      expect(author.has("plugins")).toBe(false)
    },
  )

  test("refuses a name that is taken, by a file, by a definition, or by a bundled plugin", async () => {
    const author = newAuthor()
    author.write("plugins/mine.test.ts", "// mine")
    const byFile = await author.plugin("new", "mine", "--type", "cache")
    expect(byFile).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining("mine.test.ts is there already"),
    })
    expect(author.read("plugins/mine.test.ts")).toBe("// mine")
    expect(author.has("plugins/mine.ts")).toBe(false)

    author.write(
      "plugins/other.ts",
      'export default { name: "theirs", version: "1.0.0", type: "monitoring", setup: () => ({}) }',
    )
    const byName = await author.plugin("new", "theirs", "--type", "cache")
    expect(byName).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining("other.ts; choose another name"),
    })

    const bundled = await author.plugin("new", "rate-limiter", "--type", "middleware")
    expect(bundled).toMatchObject({ exitCode: 1, err: expect.stringContaining("from bundled:rate-limiter") })
  })

  test("refuses a type that does not exist, and needs one", async () => {
    const author = newAuthor()
    const unknown = await author.plugin("new", "a", "--type", "midleware")
    expect(unknown).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining("provider, middleware, router"),
    })
    expect(await author.plugin("new", "a")).toMatchObject({ exitCode: 2 })
  })

  test("a name that begins with a digit makes a metric that does not", async () => {
    const author = newAuthor()
    await author.plugin("new", "2-eyes", "--type", "monitoring")
    expect(author.read("plugins/2-eyes.ts")).toContain("# TYPE _2_eyes_tokens_total counter")
  })
})

test("the config of a new plugin is in the schema of the config", async () => {
  const author = newAuthor()
  await author.plugin("new", "my-cache", "--type", "cache")
  const { out } = await author.run("config", "schema")
  const { properties } =
    JSON.parse(out).properties.plugins.properties.configs.properties["my-cache"].properties.config
  expect(properties).toMatchObject({
    entries: { default: 1000, description: "As many are kept" },
    ttl: { default: "10m" },
  })
})
