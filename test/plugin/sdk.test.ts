import { expect, expectTypeOf, test } from "bun:test"
import * as typebox from "@sinclair/typebox"
import * as typeboxValue from "@sinclair/typebox/value"
import { definePlugin, GatewayError, Type } from "leapgate/plugin"
import { GatewayError as HostError } from "../../src/errors.ts"
import { Harness } from "./fixtures.ts"

test("a plugin file shares the gateway's own classes and schemas", async () => {
  await using harness = new Harness()
  harness.write(
    "a.ts",
    `import { GatewayError, definePlugin } from "leapgate/plugin"
    import { Type } from "@sinclair/typebox"
    import { Value } from "@sinclair/typebox/value"
    export default definePlugin({ name: "a", version: "1.0.0", type: "monitoring", setup: () => ({
      export: () => ({ GatewayError, Type, Value }),
    }) })`,
  )
  await harness.registry.loadAll()
  const abilities = harness.registry.get("a")?.abilities as unknown as { export(): unknown }
  expect(abilities.export()).toEqual({
    GatewayError: HostError,
    Type: typebox.Type,
    Value: typeboxValue.Value,
  })
})

test("setup gets its configuration with the types of its schema, decoded", () => {
  definePlugin({
    name: "typed",
    version: "1.0.0",
    type: "middleware",
    config: Type.Object({
      window: Type.Duration({ default: "1m" }),
      limit: Type.Bytes(),
      mode: Type.Union([Type.Literal("ip"), Type.Literal("key")]),
      note: Type.Optional(Type.String()),
    }),
    setup({ config }) {
      expectTypeOf(config.window).toEqualTypeOf<number>()
      expectTypeOf(config.limit).toEqualTypeOf<number>()
      expectTypeOf(config.mode).toEqualTypeOf<"ip" | "key">()
      expectTypeOf(config.note).toEqualTypeOf<string | undefined>()
      return { beforeHandle() {} }
    },
  })
})

test("abilities of another type, misspelt hooks and unknown error codes do not compile", () => {
  const version = "1.0.0"
  // @ts-expect-error a provider has to chat
  definePlugin({ name: "a", version, type: "provider", setup: () => ({ models: [] }) })
  // @ts-expect-error onRespnse is no hook
  definePlugin({ name: "a", version, type: "monitoring", setup: () => ({ hooks: { onRespnse() {} } }) })
  // @ts-expect-error no such code
  expect(() => new GatewayError("no_such_code", "")).toBeFunction()
})
