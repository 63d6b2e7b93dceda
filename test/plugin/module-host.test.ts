import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import {
  createCacheHost,
  createGraphHost,
  createModuleHost,
  type ModuleHost,
} from "../../src/plugin/module-host.ts"
import { waitFor } from "../support/wait.ts"
import { temporaryDirectory } from "./fixtures.ts"

interface Ticker {
  start(): void
  readonly ticks: number
}

const TICKER = `
const state = { ticks: 0 }
export default {
  start() { setInterval(() => state.ticks++, 1) },
  get ticks() { return state.ticks },
}`

const never = new AbortController().signal
const ignore = { onError: () => {}, signal: never }

function artefact(text: string): string {
  const file = join(temporaryDirectory(), "entry.mjs")
  writeFileSync(file, text)
  return file
}

const HOSTS: readonly (readonly [string, () => ModuleHost])[] = [
  ["a module graph", createGraphHost],
  ["the require cache", createCacheHost],
]

describe.each(HOSTS)("with %s", (_, createHost) => {
  test("a module is imported with its default export", async () => {
    const module = await createHost().import(artefact("export default { answer: 42 }"), ignore)
    expect(module.exports).toEqual({ answer: 42 })
  })

  test("the same path with new content gives new code, while the old code still works", async () => {
    const host = createHost()
    const file = artefact("export default () => 1")
    const first = await host.import(file, ignore)
    writeFileSync(file, "export default () => 2")
    const second = await host.import(file, ignore)
    expect([first, second].map(({ exports }) => (exports as () => number)())).toEqual([1, 2])
  })

  test("a module that throws at its top level rejects with that error, and can be imported when it is mended", async () => {
    const host = createHost()
    const file = artefact(`throw new Error("no database")`)
    await expect(host.import(file, ignore)).rejects.toThrow("no database")
    writeFileSync(file, "export default 1")
    expect((await host.import(file, ignore)).exports).toBe(1)
  })

  test("an import that never ends is given up when its signal aborts", async () => {
    const file = artefact("await new Promise(() => {}); export default 1")
    const signal = AbortSignal.abort(new Error("enough"))
    await expect(createHost().import(file, { ...ignore, signal })).rejects.toThrow("enough")
  })

  test("run gives what the function gives, its arguments and its errors", async () => {
    const module = await createHost().import(artefact("export default 1"), ignore)
    expect(module.run((a: number, b: number) => a + b, 1, 2)).toBe(3)
    expect(() =>
      module.run(() => {
        throw new TypeError("wrong")
      }),
    ).toThrow(TypeError)
  })

  test("disposing twice does no harm", async () => {
    const module = await createHost().import(artefact("export default 1"), ignore)
    module.dispose()
    module.dispose()
  })
})

test("a module graph is what this version of Bun offers", async () => {
  const module = await createModuleHost().import(
    artefact("export default () => Bun.ModuleGraph.current"),
    ignore,
  )
  expect(module.run(module.exports as () => unknown)).toBeInstanceOf(Bun.ModuleGraph)
})

test("timers of a disposed module stop", async () => {
  const module = await createGraphHost().import(artefact(TICKER), ignore)
  const ticker = module.exports as Ticker
  module.run(() => ticker.start())
  await waitFor("the first tick", () => ticker.ticks > 0)
  module.dispose()
  const counted = ticker.ticks
  await otherTimersRan()
  expect(ticker.ticks).toBe(counted)
})

test("timers of a definition that the host imported itself stop too", async () => {
  let ticks = 0
  const module = createGraphHost().adopt({}, ignore)
  module.run(() => setInterval(() => ticks++, 1))
  await waitFor("the first tick", () => ticks > 0)
  module.dispose()
  const counted = ticks
  await otherTimersRan()
  expect(ticks).toBe(counted)
})

test("what nobody waits for goes to onError: a throw in a timer and a rejection", async () => {
  const thrown: unknown[] = []
  const text = `export default () => {
    setTimeout(() => { throw new Error("in a timer") }, 0)
    void Promise.reject(new Error("rejected"))
  }`
  const module = await createGraphHost().import(artefact(text), {
    ...ignore,
    onError: (error) => thrown.push(error),
  })
  module.run(module.exports as () => void)
  await waitFor("both errors", () => thrown.length === 2)
  expect(thrown.map((error) => (error as Error).message).sort()).toEqual(["in a timer", "rejected"])
})

test("what runs outside does not belong to the plugin that called it", async () => {
  const host = createGraphHost()
  let ticks = 0
  const module = host.adopt({}, ignore)
  module.run(() => host.outside(() => setInterval(() => ticks++, 1).unref()))
  module.dispose()
  await waitFor("a tick after the disposal", () => ticks > 0)
})

/** Long enough for a timer of one millisecond to fire, were it alive: others that were started later have. */
async function otherTimersRan(): Promise<void> {
  let fired = 0
  const timer = setInterval(() => fired++, 1)
  await waitFor("other timers", () => fired >= 5)
  clearInterval(timer)
}
