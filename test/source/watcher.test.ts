import { expect, test } from "bun:test"
import { renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { systemClock } from "../../src/clock.ts"
import { createPluginWatcher, type PluginWatcher } from "../../src/source/watcher.ts"
import { createLogger } from "../../src/telemetry/logger.ts"
import { Harness, pluginText, temporaryDirectory } from "../plugin/fixtures.ts"
import { waitFor } from "../support/wait.ts"

const HOUR_MS = 3_600_000

interface Watched extends AsyncDisposable {
  readonly harness: Harness
  readonly watcher: PluginWatcher
}

/** A loaded harness whose directory is watched; `prepare` writes what is there from the start. */
async function watched(
  prepare: (harness: Harness) => void = () => {},
  rescanIntervalMs = HOUR_MS,
): Promise<Watched> {
  const harness = new Harness()
  prepare(harness)
  await harness.registry.loadAll()
  const { directory } = harness
  const watcher = createPluginWatcher({
    directory,
    clock: systemClock,
    log: createLogger({ level: "silent" }),
    rescanIntervalMs,
    sync: () => harness.registry.sync(),
  })
  await watcher.start()
  return {
    harness,
    watcher,
    async [Symbol.asyncDispose]() {
      await watcher.stop()
      await harness[Symbol.asyncDispose]()
    },
  }
}

const alpha = (version: string) => pluginText({ name: "alpha", version })
const withAlpha = (harness: Harness) => void harness.write("a.ts", alpha("1.0.0"))

async function serves(harness: Harness, version: string | undefined): Promise<void> {
  await waitFor(`alpha ${version}`, () => harness.versionOf("alpha") === version)
}

test("a new file is loaded", async () => {
  await using setting = await watched()
  setting.harness.write("a.ts", alpha("1.0.0"))
  await serves(setting.harness, "1.0.0")
})

test("a saved file is reloaded", async () => {
  await using setting = await watched(withAlpha)
  setting.harness.write("a.ts", alpha("2.0.0"))
  await serves(setting.harness, "2.0.0")
})

test("a file that is replaced by renaming another one over it is reloaded", async () => {
  await using setting = await watched(withAlpha)
  const draft = setting.harness.write(".a.ts.draft", alpha("2.0.0"))
  renameSync(draft, join(setting.harness.directory, "a.ts"))
  await serves(setting.harness, "2.0.0")
})

test("a deleted file is unloaded", async () => {
  await using setting = await watched(withAlpha)
  setting.harness.delete("a.ts")
  await serves(setting.harness, undefined)
})

test("a helper file that changes reloads the plugin", async () => {
  await using setting = await watched((harness) => {
    harness.write("_version.ts", `export const note = "one"`)
    const top = `import { note } from "./_version.ts"`
    harness.write("a.ts", pluginText({ name: "alpha", top, setup: "say(note)" }))
  })
  setting.harness.write("_version.ts", `export const note = "two"`)
  await setting.harness.heard("two 0")
})

test("whole folders come and go", async () => {
  await using setting = await watched()
  setting.harness.write("group/alpha/index.ts", alpha("1.0.0"))
  await serves(setting.harness, "1.0.0")
  setting.harness.delete("group")
  await serves(setting.harness, undefined)
})

test("a directory that is made later is watched, and so is one that is made anew", async () => {
  await using setting = await watched(({ directory }) => rmSync(directory, { recursive: true }))
  setting.harness.write("a.ts", alpha("1.0.0"))
  await serves(setting.harness, "1.0.0")
  rmSync(setting.harness.directory, { recursive: true })
  await serves(setting.harness, undefined)
  setting.harness.write("a.ts", alpha("2.0.0"))
  await serves(setting.harness, "2.0.0")
  setting.harness.write("a.ts", alpha("3.0.0"))
  await serves(setting.harness, "3.0.0")
})

test("a change made before the watcher was ready is seen", async () => {
  const harness = new Harness()
  withAlpha(harness)
  await harness.registry.loadAll()
  harness.write("a.ts", alpha("2.0.0"))
  const watcher = createPluginWatcher({
    directory: harness.directory,
    clock: systemClock,
    log: createLogger({ level: "silent" }),
    rescanIntervalMs: HOUR_MS,
    sync: () => harness.registry.sync(),
  })
  await watcher.start()
  await serves(harness, "2.0.0")
  await watcher.stop()
  await harness.registry.shutdownAll()
})

test("what no event tells is found by the regular look", async () => {
  // Nothing below a name with a dot in front is watched.
  await using setting = await watched((harness) => {
    harness.write(".lib/note.ts", `export const note = "one"`)
    const top = `import { note } from "./.lib/note.ts"`
    harness.write("a.ts", pluginText({ name: "alpha", top, setup: "say(note)" }))
  }, 20)
  setting.harness.write(".lib/note.ts", `export const note = "two"`)
  await setting.harness.heard("two 0")
})

test("a save of the same content does nothing", async () => {
  await using setting = await watched(withAlpha)
  setting.harness.write("a.ts", alpha("1.0.0"))
  // A later save of another file is seen, so the first one was too.
  setting.harness.write("b.ts", pluginText({ name: "beta" }))
  await waitFor("beta", () => setting.harness.versionOf("beta"))
  expect(setting.harness.said.filter((text) => text === "alpha up 1")).toHaveLength(1)
})

test("many saves in a row are taken together", async () => {
  await using setting = await watched(withAlpha)
  for (let version = 2; version <= 30; version++) setting.harness.write("a.ts", alpha(`${version}.0.0`))
  await serves(setting.harness, "30.0.0")
  expect(setting.harness.registry.current.generation).toBeLessThan(5)
})

test("a plugin is found although something writes into the directory all the time", async () => {
  await using setting = await watched()
  const timer = setInterval(() => setting.harness.write("noise.log", String(performance.now())), 5)
  try {
    setting.harness.write("a.ts", alpha("1.0.0"))
    await serves(setting.harness, "1.0.0")
  } finally {
    clearInterval(timer)
  }
})

test("starting twice and stopping twice does no harm, and a stopped watcher can start again", async () => {
  await using setting = await watched(withAlpha)
  const { harness, watcher } = setting
  await watcher.start()
  await watcher.stop()
  await watcher.stop()
  harness.write("a.ts", alpha("2.0.0"))
  await watcher.start()
  await serves(harness, "2.0.0")
})

test("stopping during the start ends the start", async () => {
  await using setting = await watched()
  await setting.watcher.stop()
  const starting = setting.watcher.start()
  await setting.watcher.stop()
  await starting
})

test("a look that fails is logged, and the next one is made all the same", async () => {
  const lines: string[] = []
  let looks = 0
  const watcher = createPluginWatcher({
    directory: temporaryDirectory(),
    clock: systemClock,
    log: createLogger({ level: "info", destination: (line) => lines.push(line) }),
    rescanIntervalMs: 5,
    sync: async () => {
      looks++
      throw new Error("disk on fire")
    },
  })
  await watcher.start()
  await waitFor("more looks", () => looks >= 3)
  await watcher.stop()
  expect(lines[0]).toContain("disk on fire")
})
