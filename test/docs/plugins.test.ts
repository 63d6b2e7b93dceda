import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { join } from "node:path"
import * as sdk from "leapgate/plugin"
import * as testing from "leapgate/testing"
import { bundledPlugins } from "../../src/bundled.ts"
import { PLUGIN_TYPES, type PluginType } from "../../src/plugin/contract.ts"
import { postChat } from "../support/chat.ts"
import { postEmbeddings } from "../support/embeddings.ts"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { waitFor } from "../support/wait.ts"
import { codeRows, REPOSITORY, readPage, sectionOf } from "./page.ts"
import { schemaRows } from "./schema-rows.ts"

const { text } = await readPage("docs/reference/plugins.md")
const contract = await Bun.file(join(REPOSITORY, "src/plugin/contract.ts")).text()

describe.each([
  ["Definition", "PluginDefinition"],
  ["Setup context", "SetupContext"],
])("the section %s", (heading, name) => {
  test("has the properties of the contract", () => {
    const documented = codeRows(sectionOf(text, heading)).map(([property]) => property)
    expect(documented.toSorted()).toEqual(
      membersOf(name)
        .map(([member]) => member)
        .toSorted(),
    )
  })
})

test("the page has what every type may return", () => {
  const documented = codeRows(sectionOf(text, "What every type may return")).map(([property]) => property)
  expect(documented.toSorted()).toEqual(
    membersOf("CommonAbilities")
      .map(([member]) => member)
      .toSorted(),
  )
})

test("the page has what leapgate/plugin exports", () => {
  const documented = codeRows(sectionOf(text, "What `leapgate/plugin` exports")).map(([name]) => name)
  expect(documented.toSorted()).toEqual(Object.keys(sdk).toSorted())
})

describe("the page has what leapgate/testing", () => {
  const section = sectionOf(text, "What `leapgate/testing` exports")
  const names = codeRows(section).map(([name]) => name)

  test("exports", () => {
    expect(names.slice(0, Object.keys(testing).length)).toEqual(Object.keys(testing))
  })

  test("takes and gives", async () => {
    const source = await Bun.file(join(REPOSITORY, "src/testing/test-app.ts")).text()
    const members = ["TestPluginOptions", "TestApp"].flatMap((name) => membersOf(name, source))
    const wanted = members.map(([member]) => member)
    expect(names.slice(Object.keys(testing).length)).toEqual(wanted)
  })
})

test.each(PLUGIN_TYPES.map((type) => [type] as const))(
  "the section of %s has its abilities, required and optional",
  (type) => {
    const documented = codeRows(sectionOf(text, type)).map(
      ([ability = "", need = ""]) => [ability, need] as const,
    )
    const name = `${type[0]?.toUpperCase()}${type.slice(1)}Abilities`
    expect(documented).toEqual(membersOf(name))
  },
)

test.each(bundledPlugins().map(({ definition }) => [definition.name, definition] as const))(
  "the settings of %s are those of its schema",
  (name, { config }) => {
    const documented = codeRows(sectionOf(text, name)).map(([key = "", type = "", fallback = ""]) => ({
      key,
      type,
      fallback,
    }))
    expect(documented).toEqual(config === undefined ? [] : [...schemaRows(config)])
  },
)

describe("the gateway calls every ability that the page has", () => {
  let gateway: RunningGateway

  beforeAll(async () => {
    gateway = await startGateway({
      plugins: {
        ...Object.fromEntries(PLUGIN_TYPES.map((type) => [`a-${type}.ts`, witness(`a-${type}`, type)])),
        "another-provider.ts": witness("another-provider", "provider"),
      },
    })
    const headers = { authorization: "Bearer what a-auth knows" }
    await postChat(gateway.url, { model: "m", headers })
    await (await postChat(gateway.url, { model: "m", stream: true, headers })).text()
    await postEmbeddings(gateway.url, { model: "m", headers })
    await postChat(gateway.url, { model: "not there", headers })
    await fetch(`${gateway.url}/metrics`)
    await waitFor("the last call to be logged", () => called().has("middleware.onError"))
    await waitFor("the providers to be asked how they are", () => called().has("provider.healthCheck"))
    for (const ability of ["recordMetric", "recordEvent", "startTrace"]) {
      await waitFor(ability, () => called().has(`monitoring.${ability}`))
    }
    for (const [method, path] of CACHE_OPERATIONS) await fetch(gateway.adminUrl + path, { method })
    await waitFor("the last call to be logged", () => called().has("cache.clear"))
  })

  afterAll(async () => {
    await gateway?.stop()
  })

  test.each(PLUGIN_TYPES.map((type) => [type] as const))("of %s", (type) => {
    const documented = functionsOf(type)
    expect(documented.filter((ability) => !called().has(`${type}.${ability}`))).toEqual([])
  })

  function called(): ReadonlySet<string> {
    return new Set([...gateway.logs().matchAll(/"witnessed":"([\w.]+)"/g)].map(([, ability = ""]) => ability))
  }
})

const CACHE_OPERATIONS = [
  ["GET", "/plugins/a-cache/cache"],
  ["DELETE", "/plugins/a-cache/cache/some-key"],
  ["DELETE", "/plugins/a-cache/cache"],
] as const

/** Abilities that are values and not functions. */
const DATA: ReadonlySet<string> = new Set(["models", "priority", "routes", "distributed"])

function functionsOf(type: PluginType): readonly string[] {
  return codeRows(sectionOf(text, type)).flatMap(([ability = ""]) => (DATA.has(ability) ? [] : [ability]))
}

/** A plugin with every ability of its type, each of which logs that it was called. */
function witness(name: string, type: PluginType): string {
  const abilities = functionsOf(type)
    .map((ability) => `${ability}: seen("${ability}", ${RESULTS[ability]})`)
    .join(",\n")
  return `import { definePlugin } from "leapgate/plugin"
const completion = { id: "x", object: "chat.completion", created: 0, model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }] }
export default definePlugin({
  name: "${name}", version: "1.0.0", type: "${type}",
  setup({ log }) {
    const seen = (ability, result) => (...args) => {
      log.info("called", { witnessed: "${type}." + ability })
      return result
    }
    return { ${type === "provider" ? 'models: ["m"],' : ""} ${type === "cache" ? "distributed: false," : ""}
${abilities} }
  },
})`
}

/** What the abilities give, where nothing will not do. */
const RESULTS: Readonly<Record<string, string>> = {
  chat: "completion",
  listModels: '["m"]',
  embed: '{ object: "list", data: [{ object: "embedding", index: 0, embedding: [1] }] }',
  estimateCost: "1",
  routeRequest: "true",
  delete: "true",
  stats: "{ hits: 0, misses: 0, sets: 0, deletes: 0, sizeBytes: 0, entries: 0, evictions: 0 }",
  supportsFormat: "true",
  authenticate: '{ name: "ann", via: "plugin", userId: "u", roles: [], permissions: [], metadata: {} }',
  authorize: "true",
  permissions: "[]",
  export: '""',
}

/** The members of an interface of the contract, with whether they are needed. */
function membersOf(name: string, source = contract): (readonly [string, string])[] {
  const [, body = ""] =
    new RegExp(`^export interface ${name}(?:<[^{]*?>)?(?: extends \\w+)? \\{\\n(.*?)^\\}`, "ms").exec(
      source,
    ) ?? []
  if (body === "") throw new Error(`the contract has no interface ${name}`)
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)(\??)(?:<\w+>)?[:(]/gm)].map(
    ([, member = "", mark]) => [member, mark === "?" ? "optional" : "required"] as const,
  )
}
