import { expect, test } from "bun:test"
import fc from "fast-check"
import { waitFor } from "../support/wait.ts"
import { Harness, pluginText } from "./fixtures.ts"

const NAMES = ["a", "b", "c"] as const
type Name = (typeof NAMES)[number]

/** `b` needs `a`; `c` stands alone. */
const MORE: Readonly<Record<Name, string>> = { a: "", b: `dependencies: { a: "*" },`, c: "" }

type Operation =
  | {
      readonly kind:
        | "write"
        | "break"
        | "fail"
        | "delete"
        | "enable"
        | "disable"
        | "reload"
        | "rollback"
        | "promote"
        | "try"
        | "settle"
        | "call"
        | "stumble"
      readonly name: Name
    }
  | { readonly kind: "sync" | "pause" | "apply" }

const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    kind: fc.constantFrom(
      "write",
      "write",
      "break",
      "fail",
      "delete",
      "enable",
      "enable",
      "disable",
      "reload",
      "rollback",
      "promote",
      "try",
      "settle",
      "call",
      "call",
      "stumble",
    ),
    name: fc.constantFrom(...NAMES),
  }),
  fc.record({ kind: fc.constantFrom("sync", "pause", "apply") }),
)

test("whatever is asked for at the same time, what serves in the end is what was asked for last", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 25 }), async (operations) => {
      await using harness = new Harness({ probation: { calls: 3, maxErrors: 0 }, random: Math.random })
      const files = new Map<Name, "good" | "bad">()
      let version = 0
      const asked: Promise<unknown>[] = []
      for (const name of NAMES) changePlugin("write", name)
      await harness.registry.loadAll()
      for (const step of operations) {
        if (!("name" in step)) await takeStep(step.kind)
        else changePlugin(step.kind, step.name)
      }
      await Promise.all(asked)
      await harness.registry.sync()
      await waitFor("nothing to be left to do", () => !harness.registry.list().some(isWakeable))
      checkEnd()
      await proveAll()
      checkEnd()
      const isRight = (name: Name) => alive(name) === Number(isActive(name)) + Number(hasCanary(name))
      await waitFor("all others to be disposed", () => NAMES.every(isRight))
      await harness.registry.shutdownAll()
      await waitFor("all to be disposed", () => NAMES.every((name) => alive(name) === 0))

      /** What is refused is refused: here it only matters what comes of it. */
      function ask(answer: Promise<unknown>): void {
        asked.push(answer.catch(() => {}))
      }

      async function takeStep(kind: "sync" | "pause" | "apply"): Promise<void> {
        if (kind === "sync") ask(harness.registry.sync())
        if (kind === "apply") ask(harness.registry.applyEntries())
        if (kind === "pause") await Bun.sleep(2)
      }

      function changePlugin(kind: string, name: Name): void {
        const text = { name, version: `${++version}.0.0`, more: MORE[name] }
        if (kind === "write") write(name, "good", pluginText(text))
        else if (kind === "break") write(name, "bad", "export default {{")
        else if (kind === "fail") write(name, "bad", pluginText({ ...text, setup: `throw new Error("no")` }))
        else if (kind === "delete" && files.delete(name)) harness.delete(`${name}.ts`)
        else if (kind === "enable") ask(harness.registry.enable(name))
        else if (kind === "reload") ask(harness.registry.reload(name))
        else if (kind === "rollback") ask(harness.registry.rollback(name))
        else if (kind === "promote") ask(harness.registry.promote(name))
        else if (kind === "try") harness.entries[name] = { canary: 0.5 }
        else if (kind === "settle") harness.entries[name] = {}
        else if (kind === "call" || kind === "stumble") call(name, kind)
        else if (kind === "disable") ask(Promise.try(() => harness.registry.disable(name, { force: true })))
      }

      /** As a request would, which may meet the canary. */
      function call(name: Name, kind: "call" | "stumble"): void {
        const instance = harness.registry.current.pick().instances.find((other) => other.name === name)
        instance?.called("onRequest", 1)
        if (kind === "stumble") instance?.failed("it stumbled", "error")
      }

      /** Ends every probation: nothing is held any more. */
      async function proveAll(): Promise<void> {
        for (let count = 0; count < 3; count++) {
          for (const name of NAMES) harness.registry.get(name)?.called("onRequest", 1)
          await Promise.resolve()
        }
      }

      function write(name: Name, state: "good" | "bad", text: string): void {
        files.set(name, state)
        harness.write(`${name}.ts`, text)
      }

      function isWakeable({
        name,
        state,
        enabled,
      }: {
        name: string
        state: string
        enabled: boolean
      }): boolean {
        return name === "b" && enabled && state === "error" && files.get("b") === "good" && isActive("a")
      }

      /** Instances that were set up and not disposed. */
      function alive(name: Name): number {
        const count = (what: string) =>
          harness.said.filter((text) => text.startsWith(`${name} ${what} `)).length
        return count("up") - count("gone")
      }

      function hasCanary(name: Name): boolean {
        return isActive(name) && harness.registry.getInfo(name).canary !== null
      }

      function isActive(name: Name): boolean {
        return harness.registry.get(name) !== undefined
      }

      function checkEnd(): void {
        const serving = harness.registry.current.instances.map(({ name }) => name)
        expect(new Set(serving).size).toBe(serving.length)
        for (const { name, state, enabled } of harness.registry.list()) {
          expect(state === "active").toBe(serving.includes(name))
          if (state === "active") expect(enabled).toBe(true)
        }
        if (serving.includes("b")) expect(serving).toContain("a")
        for (const name of NAMES) {
          const file = files.get(name)
          if (file === undefined) expect(isActive(name)).toBe(false)
          const isWanted = file === "good" && harness.registry.getInfo(name).enabled
          const canServe = name !== "b" || isActive("a")
          if (!isWanted || !canServe) continue
          const { state, error } = harness.registry.getInfo(name)
          expect(state).toBe("active")
          // A version that was taken back says so.
          expect(error?.code ?? "plugin_failed").toBe("plugin_failed")
        }
      }
    }),
    { numRuns: 60 },
  )
}, 60_000)
