import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import { createLogger, type LogLevel, type RootLogger } from "../../src/telemetry/logger.ts"
import { createRedactor } from "../../src/telemetry/redact.ts"

const LOGGER_FILE = join(import.meta.dir, "../../src/telemetry/logger.ts")

function capture(level: LogLevel = "debug"): { log: RootLogger; lines: string[]; last(): unknown } {
  const lines: string[] = []
  const log = createLogger({ level, destination: (line) => lines.push(line) })
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? "null") }
}

describe("lines", () => {
  test("a line is one JSON object: level, ISO time, message, then the fields", () => {
    const { log, lines, last } = capture()
    log.info("plugin reloaded", { plugin: "rate-limiter", durationMs: 12 })
    expect(lines).toHaveLength(1)
    expect(lines[0]).toEndWith("}\n")
    expect(Object.keys(last() as object)).toEqual(["level", "time", "message", "plugin", "durationMs"])
    expect(last()).toMatchObject({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      message: "plugin reloaded",
      plugin: "rate-limiter",
      durationMs: 12,
    })
  })

  test("text with line breaks stays on one line", () => {
    const { log, lines } = capture()
    log.error("two\nlines", { note: "and\r\nmore\u2028here" })
    expect(lines[0]?.trimEnd()).not.toContain("\n")
  })

  test("a child adds its fields, and no line can take them for its own", () => {
    const { log, last, lines } = capture()
    log.child({ plugin: "a", part: "x" }).child({ part: "y" }).warn("careful", { plugin: "b" })
    expect(last()).toMatchObject({ plugin: "a", part: "y", plugin_: "b" })
    expect(lines[0]?.match(/"plugin"/g)).toHaveLength(1)
  })

  test("a field cannot pass itself off as the line's level, time or message", () => {
    const { log, last } = capture()
    log.info("real", { level: "error", time: 0, message: "forged" })
    expect(last()).toMatchObject({
      level: "info",
      message: "real",
      level_: "error",
      time_: 0,
      message_: "forged",
    })
  })

  test("secrets are taken out of message, fields and bindings", () => {
    const { log, lines } = capture()
    log
      .child({ headers: new Headers({ "x-api-key": "hunter2" }) })
      .info("sent Bearer hunter2", { token: "hunter2" })
    expect(lines[0]).not.toContain("hunter2")
  })

  test("a secret that is registered later vanishes too, from children made before", () => {
    const lines: string[] = []
    const redactor = createRedactor()
    const log = createLogger({ level: "info", destination: (line) => lines.push(line), redactor })
    const child = log.child({ note: "plain-looking" })
    redactor.addSecret("plain-looking")
    child.info("it is plain-looking")
    expect(lines[0]).not.toContain("plain-looking")
  })

  test("fields that cannot be read do not throw and do not lose the line", () => {
    const { log, lines, last } = capture()
    const { proxy, revoke } = Proxy.revocable<Record<string, unknown>>({}, {})
    revoke()
    log.info("first", proxy)
    log.info("second", {
      get broken(): never {
        throw new Error("no")
      },
    })
    expect(lines).toHaveLength(2)
    expect(last()).toMatchObject({ message: "second", broken: "[unreadable]" })
  })

  test("a field called __proto__ is written and changes nothing else", () => {
    const { log, lines } = capture()
    log.info("odd", JSON.parse('{"__proto__": {"polluted": 1}}'))
    expect(lines[0]).toContain('"__proto__":{"polluted":1}')
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })
})

describe("levels", () => {
  test("lines below the level are not written", () => {
    const { log, lines } = capture("warn")
    log.debug("a")
    log.info("b")
    log.warn("c")
    log.error("d")
    expect(lines.map((line) => JSON.parse(line).level)).toEqual(["warn", "error"])
  })

  test("silent writes nothing", () => {
    const { log, lines } = capture("silent")
    log.error("a")
    expect(lines).toEqual([])
  })

  test("a line that is not written does not look at its fields", () => {
    const { log } = capture("info")
    let reads = 0
    log.debug("a", {
      get costly() {
        reads++
        return 1
      },
    })
    expect(reads).toBe(0)
  })

  test("a new level takes effect at once, in children too", () => {
    const { log, lines } = capture("info")
    const child = log.child({ plugin: "a" })
    child.debug("not yet")
    log.setLevel("debug")
    child.debug("now")
    log.setLevel("error")
    child.warn("no more")
    expect(lines.map((line) => JSON.parse(line).message)).toEqual(["now"])
  })
})

describe("standard error", () => {
  const writes = (lines: number, length: number) => `
    import { createLogger } from ${JSON.stringify(LOGGER_FILE)}
    const log = createLogger({ level: "info" })
    const before = process.memoryUsage.rss()
    for (let index = 0; index < ${lines}; index++) log.info("line " + index, { filler: "x".repeat(${length}) })
    console.log(process.memoryUsage.rss() - before < 100e6 ? "alive and small" : "alive and large")
  `
  const run = (script: string, stderr: "pipe" | Bun.BunFile) =>
    Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr })

  test("lines go there, all of them, before the process ends", async () => {
    const child = run(writes(2000, 1000), "pipe")
    const [out, err] = await Promise.all([child.stdout.text(), (child.stderr as ReadableStream).text()])
    expect(out).toBe("alive and small\n")
    const lines = err.trimEnd().split("\n")
    expect(lines).toHaveLength(2000)
    expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ message: "line 1999" })
  })

  test.skipIf(process.platform !== "linux")(
    "a full disk behind it neither stops the process nor fills its memory",
    async () => {
      const child = run(writes(15_000, 8000), Bun.file("/dev/full"))
      expect(await child.stdout.text()).toBe("alive and small\n")
      expect(await child.exited).toBe(0)
    },
  )

  test("a reader that went away does not stop the process", async () => {
    const child = run(writes(2000, 1000), "pipe")
    await (child.stderr as ReadableStream).cancel()
    expect(await child.stdout.text()).toBe("alive and small\n")
    expect(await child.exited).toBe(0)
  })
})
