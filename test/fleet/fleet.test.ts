/** Several registries over one directory, connected by the supervisor's own relay, without processes. */
import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import fc from "fast-check"
import { IpcPeers } from "../../src/cli/ipc-peers.ts"
import type { FromSupervisor, ToSupervisor } from "../../src/cli/messages.ts"
import { createRelay, type Member } from "../../src/cli/relay.ts"
import { type Clock, systemClock } from "../../src/clock.ts"
import type { GatewayError } from "../../src/errors.ts"
import type { PluginCommand } from "../../src/fleet/commands.ts"
import { createFleet, type Fleet } from "../../src/fleet/fleet.ts"
import type { Readings, Topic } from "../../src/fleet/readings.ts"
import type { Overrides } from "../../src/plugin/roster.ts"
import { createLogger } from "../../src/telemetry/logger.ts"
import { Harness, pluginText, temporaryDirectory } from "../plugin/fixtures.ts"
import { waitFor } from "../support/wait.ts"

interface Process {
  readonly pid: number
  readonly host: Harness
  readonly fleet: Fleet
  readonly log: readonly Readonly<Record<string, unknown>>[]
  /** Its timers, which run when the test says so. */
  readonly timers: Set<() => void>
  /** Messages that wait while it is deaf; undefined while it hears. */
  held: (() => void)[] | undefined
  /** It ends, without a word. */
  leave(): void
}

class Network implements AsyncDisposable {
  readonly directory = temporaryDirectory()
  readonly processes: Process[] = []
  kept: Overrides | undefined
  readonly #relay = createRelay({ onPlan() {} })

  /** A process that has loaded its plugins and is about to serve. */
  async start(): Promise<Process> {
    const pid = 1000 + this.processes.length
    const host = new Harness({ directory: this.directory })
    const timers = new Set<() => void>()
    const clock: Clock = { ...systemClock, after: (_, task) => afterAll(timers, task) }
    const log: Readonly<Record<string, unknown>>[] = []
    const peers = new IpcPeers({ clock, send: (message) => later(() => this.#receive(member, message)) })
    const welcomed = Promise.withResolvers<Overrides | undefined>()
    const hear = (message: FromSupervisor) => {
      if (message.kind === "welcome") welcomed.resolve(message.overrides)
      else if (started.held === undefined) peers.receive(message)
      else started.held.push(() => peers.receive(message))
    }
    const member: Member = {
      number: pid,
      pid,
      send: (message) => later(() => hear(message)),
    }
    const fleet = createFleet(
      {
        registry: host.registry,
        log: createLogger({ level: "info", destination: (line) => log.push(JSON.parse(line)) }),
        keep: (overrides) => later(() => this.#receive(member, { kind: "keep", overrides })),
        read: <T extends Topic>() => host.registry.list() as Readings[T["about"]],
        catchUp: () => host.registry.sync(),
      },
      peers,
    )
    const leave = () => this.#relay.leave(member)
    const started: Process = { pid, host, fleet, log, timers, held: undefined, leave }
    this.processes.push(started)
    later(() => this.#receive(member, { kind: "hello" }))
    const overrides = await welcomed.promise
    if (overrides !== undefined) host.registry.adopt(overrides)
    await host.registry.loadAll()
    return started
  }

  /** Two processes that serve, with a plugin called `p`. */
  async pair(): Promise<readonly [Process, Process]> {
    await Bun.write(join(this.directory, "p.ts"), pluginText({ name: "p" }))
    const [a, b] = [await this.start(), await this.start()]
    await Promise.all([a.fleet.join(), b.fleet.join()])
    return [a, b]
  }

  states(name: string): readonly string[] {
    return this.processes.map(({ host }) => host.stateOf(name))
  }

  #receive(member: Member, message: ToSupervisor): void {
    if (message.kind === "keep") this.kept = message.overrides
    this.#relay.receive(member, message)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.processes.map(({ host }) => host[Symbol.asyncDispose]()))
  }
}

/** As on a channel between processes: in order, and not at once. */
function later(deliver: () => void): void {
  setImmediate(deliver)
}

function afterAll(timers: Set<() => void>, task: () => void): () => void {
  timers.add(task)
  return () => void timers.delete(task)
}

async function refusal(promise: Promise<unknown>): Promise<GatewayError> {
  return promise.then(
    () => Promise.reject(new Error("it was accepted")),
    (thrown: GatewayError) => thrown,
  )
}

describe("a command", () => {
  test("is done everywhere when its promise resolves", async () => {
    await using network = new Network()
    const [a] = await network.pair()
    await a.fleet.run({ op: "disable", name: "p" })
    expect(network.states("p")).toEqual(["inactive", "inactive"])
    await a.fleet.run({ op: "enable", name: "p" })
    expect(network.states("p")).toEqual(["active", "active"])
  })

  test("reload reads the files again everywhere", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    a.host.write("p.ts", pluginText({ name: "p", version: "2.0.0" }))
    await b.fleet.run({ op: "reload", name: "p" })
    expect([a, b].map(({ host }) => host.versionOf("p"))).toEqual(["2.0.0", "2.0.0"])
  })

  test("that fails where it was asked for is done nowhere", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    a.host.write("p.ts", "export default 1")
    const { code } = await refusal(a.fleet.run({ op: "reload", name: "p" }))
    expect(code).toBe("plugin_invalid")
    await a.fleet.gather({ about: "plugins" })
    expect(b.host.registry.getInfo("p").error).toBeNull()
  })

  test("that switches on what cannot be set up leaves it switched on everywhere", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await a.fleet.run({ op: "disable", name: "p" })
    expect(network.kept).toEqual({ enabled: { p: false } })
    a.host.write("p.ts", pluginText({ name: "p", setup: 'throw new Error("no")' }))
    const { code } = await refusal(a.fleet.run({ op: "enable", name: "p" }))
    expect(code).toBe("plugin_setup_failed")
    await waitFor("the other one to know", () => b.host.stateOf("p") === "error")
    expect([a, b].map(({ host }) => host.registry.getInfo("p").enabled)).toEqual([true, true])
    expect(network.kept).toEqual({ enabled: {} })
  })

  test("on a plugin that another process has not seen yet makes it look", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    a.host.write("new.ts", pluginText({ name: "new" }))
    await a.host.registry.sync()
    await a.fleet.run({ op: "disable", name: "new" })
    expect(b.host.registry.getInfo("new").enabled).toBe(false)
  })

  test("that another process cannot do is an error that says who and why", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    b.host.entries.p = { dependencies: ["missing"] }
    const { code, message } = await refusal(a.fleet.run({ op: "reload", name: "p" }))
    expect(code).toBe("processes_disagree")
    expect(message).toContain("1 of 1 other processes did not follow")
    expect(message).toContain(`process ${b.pid}: plugin "p" needs "missing"`)
    expect(b.log).toContainEqual(expect.objectContaining({ level: "warn", plugin: "p", op: "reload" }))
  })

  test("that another process does not answer is an error at the deadline, and it is done late", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    b.held = []
    const refused = refusal(a.fleet.run({ op: "disable", name: "p" }))
    await waitFor("the question to be on its way", () => b.held?.length === 1)
    for (const fire of a.timers) fire()
    expect((await refused).message).toContain(`process ${b.pid} did not answer within`)
    for (const deliver of b.held.splice(0)) deliver()
    expect(network.states("p")).toEqual(["inactive", "inactive"])
  })

  test("that the supervisor does not pass on is an error at the deadline", async () => {
    await using network = new Network()
    const [a] = await network.pair()
    a.held = []
    const refused = refusal(a.fleet.run({ op: "disable", name: "p" }))
    await waitFor("the deadline to be set", () => a.timers.size > 0)
    for (const fire of a.timers) fire()
    expect((await refused).code).toBe("processes_disagree")
  })

  test("does not wait for a process that ends", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    b.held = []
    const done = a.fleet.run({ op: "disable", name: "p" })
    await waitFor("the question to be on its way", () => b.held?.length === 1)
    b.leave()
    await done
  })

  test("that a process comes to by itself is done by the others", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    a.host.registry.disable("p", { reason: "it failed" })
    a.fleet.tell({ op: "disable", name: "p", reason: "it failed" })
    await waitFor("the other one to follow", () => b.host.stateOf("p") === "inactive")
    expect(b.host.errorOf("p")).toBe("it failed")
  })

  test("that comes to nothing elsewhere is logged by both", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    a.fleet.tell({ op: "enable", name: "nobody" })
    const isTold = ({ log }: Process) =>
      log.some(({ level, plugin }) => level === "warn" && plugin === "nobody")
    await waitFor("both to say so", () => isTold(a) && isTold(b))
  })
})

describe("commands at the same time", () => {
  test("on one plugin have one outcome for all", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await a.fleet.run({ op: "disable", name: "p" })
    // Each has done its own before it hears of the other's.
    await Promise.allSettled([
      a.fleet.run({ op: "enable", name: "p" }),
      b.fleet.run({ op: "disable", name: "p" }),
    ])
    const [one, other] = network.states("p")
    expect(one).toBe(String(other))
  })

  const command: fc.Arbitrary<PluginCommand> = fc.record({
    op: fc.constantFrom("enable", "disable", "reload"),
    name: fc.constantFrom("p", "q"),
  })
  const step = fc.record({ command, isFirst: fc.boolean(), hasPause: fc.boolean() })

  test("end alike everywhere, whatever they are and whoever is asked", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 8 }), async (steps) => {
        await using network = new Network()
        await Bun.write(join(network.directory, "q.ts"), pluginText({ name: "q" }))
        const [a, b] = await network.pair()
        const runs: Promise<void>[] = []
        for (const { command, isFirst, hasPause } of steps) {
          // Some stop others on the way.
          runs.push((isFirst ? a : b).fleet.run(command).catch(() => {}))
          if (hasPause) await new Promise(setImmediate)
        }
        await Promise.all(runs)
        await waitFor("all to be alike", () => isDeepEqual(a, b, network))
      }),
      { numRuns: 40 },
    )
  }, 30_000)
})

function isDeepEqual(a: Process, b: Process, { kept }: Network): boolean {
  const [one, other] = [a, b].map(({ host: { registry } }) => ({
    overrides: registry.overrides(),
    active: registry.list().map(({ name, enabled, state }) => [name, enabled, state === "active"]),
  }))
  const ends = { overrides: kept ?? { enabled: {} }, active: one?.active }
  return Bun.deepEquals(one, other) && Bun.deepEquals(one, ends)
}

describe("a process that starts later", () => {
  test("comes up with what was switched before", async () => {
    await using network = new Network()
    const [a] = await network.pair()
    await a.fleet.run({ op: "disable", name: "p" })
    await network.start()
    expect(network.states("p")).toEqual(["inactive", "inactive", "loaded"])
  })

  test("does what was asked for while it loaded before it serves, and nobody waits for it", async () => {
    await using network = new Network()
    const [a] = await network.pair()
    const late = await network.start()
    await a.fleet.run({ op: "disable", name: "p" })
    expect(late.host.stateOf("p")).toBe("active")
    await late.fleet.join()
    expect(network.states("p")).toEqual(["inactive", "inactive", "inactive"])
  })
})

test("what each process knows is gathered, and one that is silent is left blank", async () => {
  await using network = new Network()
  const [a, b] = await network.pair()
  const both = await a.fleet.gather({ about: "plugins" })
  expect(both.map(({ pid }) => pid)).toEqual([process.pid, b.pid])
  expect(both.map(({ value }) => value?.map(({ name }) => name))).toEqual([["p"], ["p"]])
  b.held = []
  const gathered = a.fleet.gather({ about: "plugins" })
  await waitFor("the question to be on its way", () => b.held?.length === 1)
  for (const fire of a.timers) fire()
  expect((await gathered).map(({ pid, value }) => [pid, value?.length])).toEqual([
    [process.pid, 1],
    [b.pid, undefined],
  ])
})

test("alone, a process asks nobody", async () => {
  await using host = new Harness()
  host.write("p.ts", pluginText({ name: "p" }))
  await host.registry.loadAll()
  const kept: Overrides[] = []
  const fleet = createFleet(
    {
      registry: host.registry,
      log: createLogger({ level: "silent" }),
      keep: (overrides) => kept.push(overrides),
      read: <T extends Topic>() => host.registry.list() as Readings[T["about"]],
      catchUp: async () => {},
    },
    undefined,
  )
  await fleet.join()
  await fleet.run({ op: "disable", name: "p" })
  expect(host.stateOf("p")).toBe("inactive")
  expect(kept).toEqual([{ enabled: { p: false } }])
  expect((await fleet.gather({ about: "plugins" })).map(({ pid }) => pid)).toEqual([process.pid])
})
