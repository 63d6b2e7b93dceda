/** Whether the gateway is meant to have a plugin of a type: what decides if strangers are served. */
import { expect, test } from "bun:test"
import { Harness, pluginText } from "./fixtures.ts"

const auth = (setup = "") =>
  pluginText({ name: "guard", type: "auth", setup, abilities: "authenticate: () => undefined" })

async function harnessWith(text: string): Promise<Harness> {
  const harness = new Harness()
  harness.write("guard.ts", text)
  await harness.registry.loadAll()
  return harness
}

test("an active one is wanted, and one of another type is not", async () => {
  await using harness = await harnessWith(auth())
  expect(harness.registry.wants("auth")).toBe(true)
  expect(harness.registry.wants("router")).toBe(false)
})

test("one whose setup fails is wanted, and so is one with an on_error that no auth plugin may have", async () => {
  await using failing = await harnessWith(auth('throw new Error("no")'))
  expect(failing.stateOf("guard")).toBe("error")
  expect(failing.registry.wants("auth")).toBe(true)

  await using lax = new Harness()
  lax.entries.guard = { onError: "open" }
  lax.write("guard.ts", auth())
  await lax.registry.loadAll()
  expect(lax.errorOf("guard")).toContain('on_error is "open"')
  expect(lax.registry.wants("auth")).toBe(true)
})

test("one that the operator switched off is not wanted, until it is switched on", async () => {
  await using harness = await harnessWith(auth())
  harness.registry.disable("guard")
  expect(harness.registry.wants("auth")).toBe(false)
  await harness.registry.enable("guard")
  expect(harness.registry.wants("auth")).toBe(true)
})

test("one that was switched off for failing is wanted still: its failure must not let strangers in", async () => {
  await using harness = await harnessWith(auth())
  harness.registry.disable("guard", { reason: "it failed too often" })
  expect(harness.registry.wants("auth")).toBe(true)
})

test("one that is gone is not wanted", async () => {
  await using harness = await harnessWith(auth())
  await harness.registry.unregister("guard")
  expect(harness.registry.wants("auth")).toBe(false)
})
