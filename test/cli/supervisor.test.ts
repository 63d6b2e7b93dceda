import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { needsSupervisor, type Timings } from "../../src/cli/supervisor.ts"
import { Lines } from "../support/lines.ts"
import { isAlive } from "../support/process.ts"
import { waitFor } from "../support/wait.ts"

const SOURCE = join(import.meta.dir, "../../src/cli/supervisor.ts")
const TIMINGS: Timings = {
  restartMinMs: 10,
  restartMaxMs: 40,
  healthyAfterMs: 60_000,
  heartbeatTimeoutMs: 20_000,
  checkEveryMs: 20,
}

let directory: string
const started: number[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "leapgate-supervisor-"))
})

afterEach(() => {
  // Supervisors first: they would start a serving process again. Each of those left its pid in a file.
  for (const pid of started.splice(0).filter(isAlive)) process.kill(pid, "SIGKILL")
  const serving = readdirSync(directory).flatMap((name) =>
    name.startsWith("pid-") ? Number(name.slice(4)) : [],
  )
  for (const pid of serving.filter(isAlive)) process.kill(pid, "SIGKILL")
  rmSync(directory, { recursive: true })
})

interface Setup {
  /** What the serving process does after it said `started <pid>`. */
  readonly serving: string
  readonly timings?: Partial<Timings>
  readonly env?: Record<string, string>
  readonly command?: readonly string[]
}

/** A real supervisor in a process of its own, over a serving process that does what the test needs. */
function start({ serving, timings, env = {}, command }: Setup) {
  const servingFile = join(directory, "serving.ts")
  writeFileSync(
    servingFile,
    `await Bun.write("pid-" + process.pid, "")
     const lives = await Bun.file("lives").exists() ? Number(await Bun.file("lives").text()) + 1 : 1
     await Bun.write("lives", String(lives))
     const alive = setInterval(() => process.send?.("alive"), 20)
     for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => console.log("got", signal))
     console.log("started", process.pid)
     ${serving}`,
  )
  const supervisorFile = join(directory, "supervisor.ts")
  const options = { command: command ?? [process.execPath, servingFile], timings: { ...TIMINGS, ...timings } }
  writeFileSync(
    supervisorFile,
    `import { supervise } from ${JSON.stringify(SOURCE)}
     process.exit(await supervise({ env: process.env, ...${JSON.stringify(options)} }))`,
  )
  const { BUN_CONFIG_MAX_HTTP_REQUESTS: _, ...inherited } = process.env
  const supervisor = Bun.spawn([process.execPath, supervisorFile], {
    cwd: directory,
    env: { ...inherited, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  })
  started.push(supervisor.pid)
  const out = new Lines(supervisor.stdout)
  const err = new Lines(supervisor.stderr)
  return { supervisor, out, err, servingPid }

  async function servingPid(life = 1): Promise<number> {
    const pid = Number((await out.find("started", life)).split(" ")[1])
    started.push(pid)
    return pid
  }
}

const READY = 'process.send?.("ready"); console.log("ready")'
const DRAIN = 'process.on("SIGTERM", () => process.exit(0)); process.on("SIGINT", () => process.exit(0))'

describe("which commands have a supervisor", () => {
  test.each([
    [["serve"], {}, true],
    [["serve", "--port", "1"], {}, true],
    [["serve", "--no-supervisor"], {}, false],
    [["serve"], { LEAPGATE_SUPERVISED: "1" }, false],
    [["doctor"], {}, false],
    [[], {}, false],
  ] as const)("%j with %j: %p", (args, env, expected) => {
    expect(needsSupervisor(args, env)).toBe(expected)
  })
})

describe("what the serving process is given", () => {
  const PRINT = 'console.log("limit", process.env.BUN_CONFIG_MAX_HTTP_REQUESTS); process.exit(3)'

  test("as many upstream requests as Bun allows", async () => {
    const { out } = start({ serving: PRINT })
    expect(await out.find("limit")).toBe("limit 65535")
  })

  test("the user's own limit, if there is one", async () => {
    const { out } = start({ serving: PRINT, env: { BUN_CONFIG_MAX_HTTP_REQUESTS: "500" } })
    expect(await out.find("limit")).toBe("limit 500")
  })

  test("that limit counts: more than Bun's own 256 requests run at a time", async () => {
    const { out } = start({
      serving: `
        let open = 0
        const gate = Promise.withResolvers()
        const server = Bun.serve({ port: 0, hostname: "127.0.0.1", async fetch() {
          if (++open === 300) gate.resolve()
          await gate.promise
          return new Response()
        } })
        await Promise.all(Array.from({ length: 300 }, () => fetch(server.url)))
        console.log("all open at once")`,
    })
    await out.find("all open at once")
  })
})

describe("the end of the serving process", () => {
  test("before it is ready ends the supervisor with the same code", async () => {
    const { supervisor, out } = start({ serving: "process.exit(7)" })
    expect(await supervisor.exited).toBe(7)
    await out.ended
    expect(out.matching("started")).toHaveLength(1)
  })

  test("without a fault ends the supervisor: somebody told it to end", async () => {
    const { supervisor } = start({ serving: `${READY}; process.exit(0)` })
    expect(await supervisor.exited).toBe(0)
  })

  test("by a crash starts another one, later each time up to a limit", async () => {
    const { err } = start({ serving: `${READY}; process.kill(process.pid, "SIGSEGV")` })
    await err.find("another one is started", 5)
    const delays = err.matching("another one is started").map((line) => JSON.parse(line).delayMs)
    expect(delays.slice(0, 5)).toEqual([10, 20, 40, 40, 40])
  })

  test("after a long healthy life is the first of its series again", async () => {
    const { err } = start({ serving: `${READY}; process.exit(1)`, timings: { healthyAfterMs: 0 } })
    await err.find("another one is started", 3)
    const lines = err.matching("another one is started").map((line) => JSON.parse(line))
    expect(lines.slice(0, 3)).toMatchObject(Array(3).fill({ level: "error", exitCode: 1, delayMs: 10 }))
  })

  test("before it is ready, but after one that was, is tried again without end", async () => {
    const { out } = start({
      serving: `if (lives > 1 && lives < 5) process.exit(9); ${READY}; if (lives === 1) process.exit(1)`,
    })
    await out.find("ready", 2)
    expect(out.matching("started")).toHaveLength(5)
  })

  test("that cannot even begin is told in the log's format", async () => {
    const { supervisor, err } = start({ serving: "", command: ["/nowhere/leapgate"] })
    expect(await supervisor.exited).toBe(1)
    await err.ended
    expect(JSON.parse(err.all[0] ?? "")).toMatchObject({ level: "error", command: "/nowhere/leapgate" })
  })
})

describe("a serving process that hangs", () => {
  test("is killed, and another one is started", async () => {
    const { out, err, servingPid } = start({
      serving: `${READY}; if (lives === 1) setTimeout(() => { for (;;); }, 50)`,
      timings: { heartbeatTimeoutMs: 300 },
    })
    const first = await servingPid()
    await err.find("hangs and is killed")
    await out.find("ready", 2)
    expect(isAlive(first)).toBe(false)
  })

  test("before it is ready ends the supervisor", async () => {
    const { supervisor } = start({ serving: "for (;;);", timings: { heartbeatTimeoutMs: 200 } })
    expect(await supervisor.exited).toBe(137)
  })

  test("is not what a machine that slept looks like", async () => {
    const { supervisor, out, err, servingPid } = start({
      serving: `${DRAIN}; ${READY}`,
      timings: { heartbeatTimeoutMs: 500 },
    })
    const pid = await servingPid()
    await out.find("ready")
    for (const process_ of [pid, supervisor.pid]) process.kill(process_, "SIGSTOP")
    await Bun.sleep(1000)
    // The supervisor wakes first and sees the silence of a process that could not speak.
    process.kill(supervisor.pid, "SIGCONT")
    await Bun.sleep(100)
    process.kill(pid, "SIGCONT")
    process.kill(supervisor.pid, "SIGTERM")
    expect(await supervisor.exited).toBe(0)
    expect(err.matching("killed")).toEqual([])
  })
})

describe("signals", () => {
  test("SIGTERM reaches the serving process, whose exit code is the supervisor's", async () => {
    const { supervisor, out } = start({ serving: `process.on("SIGTERM", () => process.exit(4)); ${READY}` })
    await out.find("ready")
    supervisor.kill("SIGTERM")
    expect(await supervisor.exited).toBe(4)
    await out.ended
    expect(out.matching("got SIGTERM")).toHaveLength(1)
  })

  test("Ctrl-C, which the terminal sends to all processes of a group, reaches it once", async () => {
    const { supervisor, out } = start({ serving: READY })
    await out.find("ready")
    process.kill(-supervisor.pid, "SIGINT")
    await out.find("got SIGINT")
    supervisor.kill("SIGHUP")
    await out.find("got SIGHUP")
    expect(out.matching("got SIGINT")).toHaveLength(1)
  })

  test("a second one of the same key press does not cut open requests", async () => {
    const { supervisor, out } = start({
      serving: `process.on("SIGINT", () => setTimeout(() => process.exit(0), 100)); ${READY}`,
    })
    await out.find("ready")
    supervisor.kill("SIGINT")
    supervisor.kill("SIGINT")
    expect(await supervisor.exited).toBe(0)
  })

  test("a second one later ends everything at once", async () => {
    const { supervisor, out, servingPid } = start({ serving: READY })
    const pid = await servingPid()
    await out.find("ready")
    supervisor.kill("SIGTERM")
    await out.find("got SIGTERM")
    await waitFor("the supervisor to end", () => {
      supervisor.kill("SIGTERM")
      return supervisor.exitCode !== null
    })
    expect(supervisor.exitCode).toBe(137)
    expect(isAlive(pid)).toBe(false)
  })

  test("SIGHUP is passed on, and nothing ends", async () => {
    const { supervisor, out } = start({ serving: READY })
    await out.find("ready")
    supervisor.kill("SIGHUP")
    await out.find("got SIGHUP")
    supervisor.kill("SIGHUP")
    await out.find("got SIGHUP", 2)
    expect(supervisor.exitCode).toBeNull()
  })

  test("SIGHUP before the serving process is ready waits until it is", async () => {
    const { supervisor, out, servingPid } = start({
      serving: `process.on("SIGUSR2", () => { console.log("ready now"); process.send?.("ready") })
        console.log("waiting")`,
    })
    const pid = await servingPid()
    await out.find("waiting")
    supervisor.kill("SIGHUP")
    // The supervisor works signals off in order: once this one is through, so is the one before.
    supervisor.kill("SIGTERM")
    await out.find("got SIGTERM")
    expect(out.matching("got SIGHUP")).toEqual([])
    process.kill(pid, "SIGUSR2")
    await out.find("got SIGHUP")
  })

  test("SIGTERM between a crash and the next start starts nothing more", async () => {
    const { supervisor, out, err } = start({
      serving: `${READY}; process.exit(1)`,
      timings: { restartMinMs: 60_000, restartMaxMs: 60_000 },
    })
    await err.find("another one is started")
    supervisor.kill("SIGTERM")
    expect(await supervisor.exited).toBe(0)
    await out.ended
    expect(out.matching("started")).toHaveLength(1)
  })
})

test("the serving process learns at once that its supervisor was killed", async () => {
  const { supervisor, out, servingPid } = start({
    serving: `process.on("disconnect", () => process.exit(0)); ${READY}`,
  })
  const pid = await servingPid()
  await out.find("ready")
  supervisor.kill("SIGKILL")
  await waitFor("the serving process to end", () => !isAlive(pid))
})
