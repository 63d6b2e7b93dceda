/** A real supervisor over several serving processes, which do what the test needs. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Lines } from "../support/lines.ts"
import { isAlive } from "../support/process.ts"
import { waitFor } from "../support/wait.ts"

const SOURCE = join(import.meta.dir, "../../src/cli/supervisor.ts")
const TIMINGS = {
  restartMinMs: 10,
  restartMaxMs: 40,
  healthyAfterMs: 60_000,
  heartbeatTimeoutMs: 20_000,
  checkEveryMs: 20,
}
const PLAN = { workers: 3, host: "127.0.0.1", port: 4321, adminListen: "" }

let directory: string
let supervisorPid: number | undefined

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "leapgate-workers-"))
})

afterEach(() => {
  // The supervisor first: it would start others. Each of those left its pid in a file.
  const serving = () => readdirSync(directory).flatMap((name) => name.match(/^pid-(\d+)$/)?.[1] ?? [])
  for (const pid of [supervisorPid, ...serving().map(Number)]) {
    if (pid !== undefined && isAlive(pid)) process.kill(pid, "SIGKILL")
  }
  rmSync(directory, { recursive: true })
})

/**
 * Every process says `up <number> <life> <pid>` when it was welcomed, then does what the test says, with these at
 * hand: `number`, `life`, `welcome`, and `serve()`, which says that it is ready.
 */
function start(serving: string, timings: Partial<typeof TIMINGS> = {}) {
  writeFileSync(
    join(directory, "serving.ts"),
    `import { existsSync } from "node:fs"
     await Bun.write("pid-" + process.pid, "")
     setInterval(() => process.send?.("alive"), 20)
     const welcome = await new Promise((resolve) => {
       process.on("message", (message) => {
         if (message.kind === "welcome") resolve(message)
         else console.log("heard", process.pid, JSON.stringify(message))
       })
       process.send({ kind: "hello" })
     })
     const { number } = welcome
     let life = 1
     while (existsSync("life-" + number + "-" + life)) life++
     await Bun.write("life-" + number + "-" + life, "")
     for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => console.log("got", signal, number))
     const serve = () => {
       process.send({ kind: "plan", plan: ${JSON.stringify(PLAN)}, announcement: "all are ready" })
       process.send("ready")
       console.log("ready", number, life)
     }
     console.log("up", number, life, process.pid)
     ${serving}`,
  )
  const options = {
    command: [process.execPath, join(directory, "serving.ts")],
    timings: { ...TIMINGS, ...timings },
  }
  writeFileSync(
    join(directory, "supervisor.ts"),
    `import { supervise } from ${JSON.stringify(SOURCE)}
     process.exit(await supervise({ env: process.env, ...${JSON.stringify(options)} }))`,
  )
  const supervisor = Bun.spawn([process.execPath, join(directory, "supervisor.ts")], {
    cwd: directory,
    stdio: ["ignore", "pipe", "pipe"],
  })
  supervisorPid = supervisor.pid
  const out = new Lines(supervisor.stdout)
  const err = new Lines(supervisor.stderr)
  return { supervisor, out, err, pidOf }

  async function pidOf(number: number, life = 1): Promise<number> {
    return Number((await out.find(`up ${number} ${life} `)).split(" ")[3])
  }
}

const DRAIN = 'process.on("SIGTERM", () => process.exit(0))'

describe("a start", () => {
  test("has as many processes as the first one asks for, and says once that all are ready", async () => {
    const { out } = start(`${DRAIN}; serve()`)
    await out.find("all are ready")
    const started = out.matching("up ").map((line) => line.split(" ").slice(1, 3).join(" "))
    expect(started.toSorted()).toEqual(["1 1", "2 1", "3 1"])
    expect(out.all.indexOf("all are ready")).toBeGreaterThan(out.all.indexOf("ready 1 1"))
  })

  test("tells every process but the first what that one got", async () => {
    const { out } = start(`console.log("plan", JSON.stringify(welcome.plan)); serve()`)
    await out.find("all are ready")
    expect(out.matching("plan ").toSorted()).toEqual([
      "plan undefined",
      `plan ${JSON.stringify(PLAN)}`,
      `plan ${JSON.stringify(PLAN)}`,
    ])
  })

  test("that fails in the first process starts no other", async () => {
    const { supervisor, out } = start("process.exit(7)")
    expect(await supervisor.exited).toBe(7)
    await out.ended
    expect(out.matching("up ")).toHaveLength(1)
  })

  test("that fails in another process is tried again, and the rest waits with its word", async () => {
    const { out } = start("if (number === 2 && life < 3) process.exit(9); serve()")
    await out.find("all are ready")
    expect(out.matching("ready 2")).toEqual(["ready 2 3"])
    expect(out.all.indexOf("all are ready")).toBeGreaterThan(out.all.indexOf("up 2 3"))
  })
})

describe("the end of one process", () => {
  test("by a crash starts that one again, with its number and the plan, and leaves the others alone", async () => {
    const { out, err, pidOf } = start(`console.log("plan", number, welcome.plan?.port); serve()`)
    await out.find("all are ready")
    process.kill(await pidOf(1), "SIGKILL")
    await out.find("ready 1 2")
    expect(await out.find("plan 1 4321")).toBeDefined()
    expect(JSON.parse(await err.find("another one is started"))).toMatchObject({ process: 1, exitCode: 137 })
    expect(out.matching("up ")).toHaveLength(4)
    expect(out.matching("all are ready")).toHaveLength(1)
    expect([await pidOf(2), await pidOf(3)].map(isAlive)).toEqual([true, true])
  })

  test("backs off for each process by itself", async () => {
    const { err } = start(
      "serve(); if (number === 2) process.exit(1); if (number === 3 && life === 1) process.exit(1)",
    )
    await err.find('"process":2', 3)
    await err.find('"process":3')
    const lines = err.all.map((line) => JSON.parse(line))
    const delays = (number: number) =>
      lines.filter(({ process }) => process === number).map(({ delayMs }) => delayMs)
    expect(delays(2).slice(0, 3)).toEqual([10, 20, 40])
    expect(delays(3)).toEqual([10])
  })

  test("without a fault starts it again too: nobody told all of them to end", async () => {
    const { out, pidOf } = start(`${DRAIN}; serve()`)
    await out.find("all are ready")
    process.kill(await pidOf(2), "SIGTERM")
    await out.find("ready 2 2")
  })

  test("that hangs is brought about, and another one is started", async () => {
    const { out, err } = start(
      "serve(); if (number === 2 && life === 1) setTimeout(() => { for (;;); }, 50)",
      {
        heartbeatTimeoutMs: 400,
      },
    )
    expect(JSON.parse(await err.find("hangs and is killed"))).toMatchObject({ process: 2 })
    await out.find("ready 2 2")
    expect(out.matching("up 1")).toHaveLength(1)
  })
})

describe("signals", () => {
  test("SIGTERM reaches all, and the supervisor ends when all have ended", async () => {
    const { supervisor, out, pidOf } = start(
      `serve(); process.on("SIGTERM", () => { if (number !== 3) process.exit(0) })
       process.on("SIGUSR2", () => process.exit(0))`,
    )
    await out.find("all are ready")
    supervisor.kill("SIGTERM")
    for (const number of [1, 2, 3]) await out.find(`got SIGTERM ${number}`)
    const [one, two, three] = [await pidOf(1), await pidOf(2), await pidOf(3)]
    await waitFor("two to end", () => !isAlive(one) && !isAlive(two))
    expect(supervisor.exitCode).toBeNull()
    process.kill(three, "SIGUSR2")
    expect(await supervisor.exited).toBe(0)
  })

  test("a fault of any process at the end is the supervisor's exit code", async () => {
    const { supervisor, out } = start(
      'serve(); process.on("SIGTERM", () => process.exit(number === 2 ? 5 : 0))',
    )
    await out.find("all are ready")
    supervisor.kill("SIGTERM")
    expect(await supervisor.exited).toBe(5)
  })

  test("a second SIGTERM ends all at once", async () => {
    const { supervisor, out, pidOf } = start("serve()")
    await out.find("all are ready")
    const pids = [await pidOf(1), await pidOf(2), await pidOf(3)]
    supervisor.kill("SIGTERM")
    await waitFor("the supervisor to end", () => {
      supervisor.kill("SIGTERM")
      return supervisor.exitCode !== null
    })
    expect(pids.filter(isAlive)).toEqual([])
  })

  test("SIGHUP reaches all, each when it is ready", async () => {
    const { supervisor, out, pidOf } = start('if (number === 3) process.on("SIGUSR2", serve); else serve()')
    const third = await pidOf(3)
    supervisor.kill("SIGHUP")
    await out.find("got SIGHUP 1")
    await out.find("got SIGHUP 2")
    expect(out.matching("got SIGHUP 3")).toEqual([])
    process.kill(third, "SIGUSR2")
    await out.find("got SIGHUP 3")
  })
})

describe("what the processes tell each other", () => {
  const heard = async (out: Lines, pid: number, kind: string) => {
    const line = await out.find(`heard ${pid} {"kind":"${kind}"`)
    return JSON.parse(line.slice(line.indexOf("{")))
  }

  test("a question goes to all others, the answers to who asked, and one that ends is told of", async () => {
    const { out, pidOf } = start(
      `process.on("message", ({ kind, id, from }) => {
         if (kind === "ask" && number === 2) process.send({ kind: "answer", id, to: from, answer: "two" })
       })
       process.send({ kind: "join" }); serve()
       if (number === 1) process.on("SIGUSR2", () => process.send({ kind: "ask", id: 7, question: "who?" }))`,
    )
    await out.find("all are ready")
    const [one, two, three] = [await pidOf(1), await pidOf(2), await pidOf(3)]
    process.kill(one, "SIGUSR2")
    const { pids } = await heard(out, one, "asked")
    expect(pids.toSorted()).toEqual([two, three].toSorted())
    expect(await heard(out, three, "ask")).toEqual({ kind: "ask", id: 7, from: one, question: "who?" })
    expect(await heard(out, one, "answer")).toEqual({ kind: "answer", id: 7, from: two, answer: "two" })
    process.kill(three, "SIGKILL")
    expect(await heard(out, one, "left")).toEqual({ kind: "left", pid: three })
  })

  test("what was kept is given to a process that starts later", async () => {
    const { out, pidOf } = start(
      `process.send({ kind: "keep", overrides: { enabled: { p: false } } }); serve()
       console.log("kept", number, life, JSON.stringify(welcome.overrides))`,
    )
    await out.find("all are ready")
    expect(await out.find("kept 1 1")).toBe("kept 1 1 undefined")
    process.kill(await pidOf(1), "SIGKILL")
    expect(await out.find("kept 1 2")).toBe('kept 1 2 {"enabled":{"p":false}}')
  })
})
