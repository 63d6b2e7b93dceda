import { expect, test } from "bun:test"
import { testPlugin } from "leapgate/testing"
import plugin from "./auth.ts"

/** The second argument of hooks and of this plugin's abilities. */
const context = { signal: new AbortController().signal }

async function tokenFor(name: string, secret: string): Promise<string> {
  const bytes = new TextEncoder()
  const algorithm = { name: "HMAC", hash: "SHA-256" }
  const key = await crypto.subtle.importKey("raw", bytes.encode(secret), algorithm, false, ["sign"])
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes.encode(name)))
  return `${name}.${[...signature].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`
}

test("a signed token says who its caller is", async () => {
  await using app = await testPlugin(plugin, { config: { secret: "s3cret" } })
  const token = await tokenFor("ada", "s3cret")
  expect(await app.abilities.authenticate(token, context)).toMatchObject({ name: "ada", via: "plugin" })
})

test("a wrong signature is refused, and other credentials are left to others", async () => {
  await using app = await testPlugin(plugin, { config: { secret: "s3cret" } })
  const forged = await tokenFor("ada", "guess")
  expect(async () => app.abilities.authenticate(forged, context)).toThrow("signature is wrong")
  expect(await app.abilities.authenticate("sk-something", context)).toBeUndefined()
})

test("its callers may use the models of its config only", async () => {
  await using app = await testPlugin(plugin, { config: { secret: "s3cret", models: ["test-model"] } })
  const ada = await app.abilities.authenticate(await tokenFor("ada", "s3cret"), context)
  if (ada === undefined) throw new Error("ada is not known")
  const mayUse = (model: string) => app.abilities.authorize?.(ada, "model.use", model, context)
  expect([await mayUse("test-model"), await mayUse("other")]).toEqual([true, false])
})
