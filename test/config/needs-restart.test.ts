import { expect, test } from "bun:test"
import { needsRestart } from "../../src/config/needs-restart.ts"
import { loadText } from "../support/config.ts"

const changed = (old: string, next: string) => needsRestart(loadText(old).config, loadText(next).config)

test("keys that a running gateway does not follow are named", () => {
  expect(
    changed(
      "server: { port: 1 }",
      "server: { port: 2 }\nplugins: { max_plugins: 9, breaker: { failures: 1 } }",
    ),
  ).toEqual(["server.port", "plugins.max_plugins", "plugins.breaker"])
})

test("those that it follows are not, nor is a default that is written out", () => {
  expect(
    changed(
      "plugins: { packages: [] }",
      "plugins: { auto_load: true, probation: { calls: 9 } }\nmodels: { a: [b/c] }",
    ),
  ).toEqual([])
})
