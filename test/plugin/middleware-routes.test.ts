import { expect, test } from "bun:test"
import { Harness, pluginText } from "./fixtures.ts"

test.each([
  ["none", "", ["/x", "/b", "/c"]],
  ["an empty list", "routes: [],", ["/x", "/b", "/c"]],
  ["several patterns", 'routes: ["/a", "/b*"],', ["/b"]],
])("a middleware with routes: %s", async (_, routes, seen) => {
  await using harness = new Harness()
  const abilities = `${routes} beforeHandle() {}`
  harness.write("subject.ts", pluginText({ name: "subject", type: "middleware", abilities }))
  await harness.registry.loadAll()
  const { current } = harness.registry
  expect(["/x", "/b", "/c"].filter((path) => current.middlewaresFor(path).length > 0)).toEqual(seen)
})
