import { expect, test } from "bun:test"
import { Catalog } from "../../src/routing/catalog.ts"
import { configuredProvider, DEFAULT_TIMEOUTS } from "../../src/routing/provider.ts"

const provider = (name: string, ...models: string[]) =>
  configuredProvider(name, { models, chat: () => new Response() }, DEFAULT_TIMEOUTS)

const catalog = new Catalog({
  providers: [provider("groq", "llama", "shared"), provider("openrouter", "meta/llama", "shared")],
  aliases: {
    fast: ["groq/llama", "openrouter/anything/else"],
    broken: ["nobody/x"],
    mixed: ["nobody/x", "shared"],
  },
})

const targets = (model: string) =>
  catalog.resolve(model)?.candidates.map((candidate) => `${candidate.provider.name}:${candidate.model}`)

test("a model that several providers list has them all as candidates", () => {
  expect(targets("shared")).toEqual(["groq:shared", "openrouter:shared"])
  expect(catalog.resolve("shared")?.by).toBe("listed")
})

test("provider/model works for every model, listed or not, slashes included", () => {
  expect(targets("groq/llama")).toEqual(["groq:llama"])
  expect(targets("groq/brand-new")).toEqual(["groq:brand-new"])
  expect(targets("openrouter/meta/llama")).toEqual(["openrouter:meta/llama"])
})

test("an alias keeps its order", () => {
  expect(targets("fast")).toEqual(["groq:llama", "openrouter:anything/else"])
})

test("an alias passes over targets that nobody serves, and is not there when none is left", () => {
  expect(targets("mixed")).toEqual(["groq:shared", "openrouter:shared"])
  expect(catalog.resolve("broken")).toBeUndefined()
})

test.each(["", "/", "groq/", "/llama", "nobody/x", "lama"])("%j is served by nobody", (model) => {
  expect(catalog.resolve(model)).toBeUndefined()
})

test("a misspelt model gets the closest names", () => {
  expect(catalog.suggest("lama")).toContain("llama")
})

test("a target is a provider, which keeps the model, or provider/model", () => {
  expect(catalog.target("openrouter", "m")).toMatchObject({ provider: { name: "openrouter" }, model: "m" })
  expect(catalog.target("groq/x", "m")).toMatchObject({ provider: { name: "groq" }, model: "x" })
  expect(catalog.target("nobody", "m")).toBeUndefined()
})

test("models are listed by name and alias; provider/model forms are known but not listed", () => {
  expect(catalog.models().map(({ id }) => id)).toEqual(["llama", "shared", "meta/llama", "fast", "mixed"])
  expect(catalog.model("shared")).toEqual({ id: "shared", providers: ["groq", "openrouter"] })
  expect(catalog.model("groq/llama")).toEqual({ id: "groq/llama", providers: ["groq"] })
  expect(catalog.model("groq/brand-new")).toBeUndefined()
})
