import { expect, test } from "bun:test"
import { isSameSetup } from "../../src/plugin/instance.ts"
import { defaultProbation, pluginSettings } from "../../src/plugin-settings.ts"
import { faultLines, loadText } from "../support/config.ts"

const settingsOf = (entry: string, more = "") =>
  pluginSettings(loadText(`plugins: { ${more} configs: { p: ${entry} } }`).config, "p")

test("a plugin has the probation of all, its own in parts or as a whole, or none", () => {
  expect(defaultProbation(loadText("").config)).toEqual({ calls: 50, maxErrors: 2 })
  expect(settingsOf("{}")?.probation).toBeUndefined()
  expect(settingsOf("{ probation: false }")?.probation).toBe(false)
  expect(settingsOf("{ probation: { calls: 9, max_errors: 0 } }")?.probation).toEqual({
    calls: 9,
    maxErrors: 0,
  })
  expect(settingsOf("{ probation: { calls: 9 } }", "probation: { max_errors: 7 },")?.probation).toEqual({
    calls: 9,
    maxErrors: 7,
  })
})

test("probation may be off for all, and a plugin may have one all the same", () => {
  const off = "probation: false,"
  expect(defaultProbation(loadText(`plugins: { ${off} }`).config)).toBeUndefined()
  expect(settingsOf("{}", off)?.probation).toBeUndefined()
  expect(settingsOf("{ probation: { calls: 9 } }", off)?.probation).toEqual({ calls: 9, maxErrors: 2 })
})

test("a canary's share is a part of one", () => {
  expect(settingsOf("{ canary: 5% }")?.canary).toBe(0.05)
  expect(settingsOf("{}")?.canary).toBeUndefined()
})

test("what is no probation and no share is a fault that says what is one", () => {
  const entry = (text: string) => faultLines(`plugins: { configs: { p: { ${text} } } }`).map(withoutPlace)
  expect(entry("probation: { calls: 0 }")).toEqual([
    "plugins.configs.p.probation.calls must be an integer of at least 1, got 0",
  ])
  expect(entry("probation: { call: 1 }")).toEqual([
    'plugins.configs.p.probation.call is not a known key; did you mean "calls"?',
  ])
  expect(entry("probation: true")).toEqual([
    "plugins.configs.p.probation must be a mapping or false, got true",
  ])
  expect(entry("canary: 0%")).toEqual([
    'plugins.configs.p.canary must be a percentage between 0% and 100%, such as "5%", got "0%"',
  ])
})

test("how a plugin is brought in makes no difference to how it is set up; all else does", () => {
  const plain = settingsOf("{}")
  expect(isSameSetup(plain, undefined)).toBe(true)
  expect(isSameSetup(plain, settingsOf("{ canary: 5%, probation: false }"))).toBe(true)
  for (const entry of ["{ priority: 1 }", "{ config: { a: 1 } }", "{ on_error: open }", "{ timeout: 1s }"]) {
    expect(isSameSetup(plain, settingsOf(entry))).toBe(false)
  }
})

const withoutPlace = (line: string) => line.replace(/^\S+ /, "")
