/** Whose fault it is when something is thrown that nobody waits for: that of the plugin whose code it was. */
import { describe, expect, test } from "bun:test"
import type { MiddlewareContext } from "../../src/plugin/contract.ts"
import { waitFor } from "../support/wait.ts"
import { Harness } from "./fixtures.ts"

const DEEDS: Readonly<Record<string, string>> = {
  "in a timer": 'setTimeout(() => { throw new Error("blame") }, 1)',
  "in a promise that nobody awaits": 'void Promise.reject(new Error("blame"))',
  "in a rejection long after its call": 'void Bun.sleep(5).then(() => { throw new Error("blame") })',
  "in an event listener": `const emitter = new EventTarget(); emitter.addEventListener("x", () => { throw new Error("blame") }); setTimeout(() => emitter.dispatchEvent(new Event("x")), 1)`,
  "in what its timer started":
    'setTimeout(() => setTimeout(() => void Promise.reject(new Error("blame")), 1), 1)',
}

/** Two plugins that share a helper, which does the throwing. */
async function twoPlugins(deed: string): Promise<Harness> {
  const harness = new Harness()
  harness.write("_helper.ts", `export function misbehave() { ${deed} }`)
  for (const name of ["guilty", "innocent"]) {
    harness.write(
      `${name}.ts`,
      `import { definePlugin } from "leapgate/plugin"
       import { misbehave } from "./_helper.ts"
       export default definePlugin({ name: "${name}", version: "1.0.0", type: "middleware",
         setup: () => ({ beforeHandle({ path }) { if (path === "${name}") misbehave() } }) })`,
    )
  }
  await harness.registry.loadAll()
  return harness
}

function call(harness: Harness, path: string): void {
  for (const { beforeHandle } of harness.registry.current.middlewaresFor("/")) {
    void beforeHandle?.call({ path } as MiddlewareContext)
  }
}

const failures = (harness: Harness, name: string) => harness.registry.get(name)?.conduct.failures

describe("what is thrown when nobody waits is the plugin's whose code ran", () => {
  test.each(Object.entries(DEEDS))("%s", async (_, deed) => {
    await using harness = await twoPlugins(deed)
    call(harness, "guilty")
    await waitFor("the error to be counted", () => failures(harness, "guilty") === 1)
    expect(failures(harness, "innocent")).toBe(0)
    expect(harness.registry.getInfo("guilty").metrics).toMatchObject({
      errors: 1,
      last_error: { message: "outside a call: blame" },
    })
    expect(harness.registry.getInfo("innocent").metrics.errors).toBe(0)
    const lines = harness.log.filter(({ message }) => message === "a plugin threw outside a call")
    expect(lines).toEqual([
      expect.objectContaining({ plugin: "guilty", file: expect.stringContaining("_helper.ts") }),
    ])
  })
})

test("what a version does after a reload is still the plugin's, and not the new version's", async () => {
  await using harness = await twoPlugins('void Promise.reject(new Error("blame"))')
  const [old] = harness.registry.current.middlewaresFor("/")
  const before = harness.registry.get("guilty")
  const pinned = harness.registry.pin()
  await harness.registry.reload("guilty")
  void old?.beforeHandle?.call({ path: "guilty" } as MiddlewareContext)
  await waitFor("the error to be counted", () => before?.conduct.failures === 1)
  expect(failures(harness, "guilty")).toBe(0)
  expect(harness.registry.getInfo("guilty").metrics.errors).toBe(1)
  pinned.release()
})

test("after a plugin is disposed nothing of it is left to throw", async () => {
  await using harness = await twoPlugins('setInterval(() => { throw new Error("blame") }, 1)')
  const before = harness.registry.get("guilty")
  call(harness, "guilty")
  await waitFor("the first errors", () => Number(before?.conduct.failures) > 0)
  harness.registry.disable("guilty")
  await before?.dispose()
  const counted = before?.conduct.failures
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  await waitFor("other timers", () => turns > 5)
  clearInterval(timer)
  expect(before?.conduct.failures).toBe(counted)
})
