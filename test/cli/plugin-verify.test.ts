import { describe, expect, test } from "bun:test"
import { newAuthor } from "./author.ts"

/** The source of a middleware. */
function middleware(name: string, { config = "", setup = "{ beforeHandle() {} }", top = "" } = {}): string {
  return `import { definePlugin, Type } from "leapgate/plugin"
${top}
export default definePlugin({
  name: "${name}",
  version: "1.0.0",
  type: "middleware",
  config: Type.Object({ ${config} }),
  setup: ({ config }) => (${setup}),
})
`
}

describe("plugin verify", () => {
  test("finds nothing wrong with a good plugin, and does not run it", async () => {
    const author = newAuthor()
    author.write(
      "plugins/good.ts",
      middleware("good", {
        config: 'window: Type.Duration({ default: "1m" })',
        top: 'import { join } from "node:path"\nimport { help } from "./_help.ts"',
        setup: "{ priority: help(join('a', String(config.window))), beforeHandle() { } }",
      }),
    )
    author.write(
      "plugins/_help.ts",
      "export const help = (text: string): number => { throw new Error(text) }",
    )
    author.write("plugins/good.test.ts", "")
    const { exitCode, out } = await author.plugin("verify")
    expect(out.split("\n").slice(0, -1)).toEqual([
      "✓ good: types fit",
      "✓ good: imports leapgate/plugin; built-in node:path; own files _help.ts",
      "✓ good: is the middleware 1.0.0",
      "✓ good: works with the defaults of its settings",
      "✓ good: has a test",
    ])
    expect(out).toContain("setup was not run")
    expect(exitCode).toBe(0)
    expect(author.has("plugins/node_modules")).toBe(false)
  })

  test("shows faults of types with line and column, also of the plugin's other files", async () => {
    const author = newAuthor()
    author.write(
      "plugins/wrong.ts",
      middleware("wrong", {
        top: 'import "./_more.ts"',
        setup: "{ beforeHandle({ setHeader }) { setHeader(1, config.none) } }",
      }),
    )
    author.write("plugins/_more.ts", "\nexport const text: string = 5\n")
    const { exitCode, out } = await author.plugin("verify", "wrong")
    expect(exitCode).toBe(1)
    expect(out).toContain("✗ wrong: plugins/wrong.ts:8:69: TS2345: Argument of type 'number'")
    expect(out).toContain("✗ wrong: plugins/wrong.ts:8:79: TS2339: Property 'none' does not exist")
    expect(out).toContain("✗ wrong: plugins/_more.ts:2:14: TS2322: Type 'number'")
  })

  test("knows the globals of the web, and modules of Node.js and Bun", async () => {
    const author = newAuthor()
    author.write(
      "plugins/web.ts",
      middleware("web", {
        top: 'import { readFile } from "node:fs/promises"\nimport { sleep } from "bun"',
        setup: `{ async beforeHandle({ signal }) {
          const timer = setInterval(() => {}, 5); clearInterval(timer)
          const reply = await fetch(new URL("http://127.0.0.1"), { signal: AbortSignal.any([signal]) })
          await readFile(process.env.HOME ?? ""); await sleep(1); await Bun.sleep(1)
          return new Response(reply.body, { headers: new Headers({ "x-id": crypto.randomUUID() }) })
        } }`,
      }),
    )
    const { out } = await author.plugin("verify")
    expect(out).toContain("✓ web: types fit")
    expect(out).toContain("built-in bun, node:fs/promises")
  })

  test("uses the author's own options where the SDK is installed", async () => {
    const author = newAuthor()
    const source = middleware("loose", { top: "export const first = (list: string[]): string => list[0]" })
    author.write("plugins/loose.ts", source)
    expect((await author.plugin("verify")).out).toContain("✗ loose: plugins/loose.ts:2:")
    await author.plugin("types")
    const config = JSON.parse(author.read("plugins/tsconfig.json"))
    config.compilerOptions.noUncheckedIndexedAccess = false
    author.write("plugins/tsconfig.json", JSON.stringify(config))
    expect((await author.plugin("verify")).out).toContain("✓ loose: types fit")
  })

  test.each([
    ["no default export", "export const a = 1", "has no default export"],
    ["a syntax error", "export default {{{", "broken.ts:1:17"],
    [
      "a bad definition",
      'export default { name: "broken", version: "one", type: "cache", setup() {} }',
      "invalid plugin version",
    ],
    ["a package that is not there", 'import "no-such-package"\nexport default {}', "no-such-package"],
    ["an import that throws", '\nthrow new Error("too early")', "broken.ts:2:"],
  ])("shows %s", async (_, source, message) => {
    const author = newAuthor()
    author.write("plugins/broken.ts", source)
    const { exitCode, out } = await author.plugin("verify")
    expect(exitCode).toBe(1)
    expect(out).toContain(message)
  })

  test.each([
    [
      "a default that does not fit",
      'window: Type.Duration({ default: "soon" })',
      'must be a duration such as "30s"',
    ],
    [
      "a property that is no schema",
      'limit: { type: "integer" } as never',
      "config.limit is no valid schema",
    ],
    ["a pattern that is none", 'name: Type.String({ pattern: "(" })', "config.name is no valid schema"],
    ["a setting without a default", "key: Type.String()", "it has no settings in the config yet"],
  ])("shows %s", async (_, config, message) => {
    const author = newAuthor()
    author.write("plugins/odd.ts", middleware("odd", { config }))
    const { exitCode, out } = await author.plugin("verify", "odd")
    expect(exitCode).toBe(1)
    expect(out).toContain(message)
  })

  test("holds the settings of the config file to the schema", async () => {
    const author = newAuthor()
    author.write("plugins/odd.ts", middleware("odd", { config: "limit: Type.Integer()" }))
    const verified = async (settings: string) => {
      author.write("config.yaml", `plugins: { configs: { odd: ${settings} } }`)
      return author.plugin("verify", "odd")
    }
    expect((await verified("{ config: { limit: 5 } }")).out).toContain("✓ odd: its settings fit")
    expect((await verified("{ enabled: false, config: { limit: 5 } }")).out).toContain(
      "! odd: its settings fit, and it is off",
    )
    const bad = await verified("{ config: { limit: many } }")
    expect(bad.out).toContain('✗ odd: plugins.configs.odd.config.limit must be an integer, got "many"')
    expect(bad.exitCode).toBe(1)
  })

  test("takes paths and names, and knows what was meant", async () => {
    const author = newAuthor()
    author.write("elsewhere/away.ts", middleware("away"))
    author.write("plugins/group/index.ts", middleware("inside"))
    expect((await author.plugin("verify", "elsewhere/away.ts")).out).toContain(
      "✓ away: is the middleware 1.0.0",
    )
    expect((await author.plugin("verify", "inside")).out).toContain(
      '✓ group: is the middleware "inside" 1.0.0',
    )
    const unknown = await author.plugin("verify", "grup")
    expect(unknown).toMatchObject({ exitCode: 1, err: expect.stringContaining('did you mean "group"?') })
    const bundled = await author.plugin("verify", "rate-limiter")
    expect(bundled).toMatchObject({ exitCode: 1, err: expect.stringContaining("comes with the gateway") })
  })
})
