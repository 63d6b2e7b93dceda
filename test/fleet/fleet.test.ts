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
import { CacheKeeper } from "../../src/plugin/cache-keeper.ts"
import type { CacheEvent } from "../../src/plugin/contract.ts"
import type { Overrides } from "../../src/plugin/roster.ts"
import { createLogger } from "../../src/telemetry/logger.ts"
import { Gate, Harness, type PluginText, pluginText, temporaryDirectory } from "../plugin/fixtures.ts"
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
    const host = new Harness({ directory: this.directory, probation: { calls: 5, maxErrors: 1 } })
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
        ...commandServices(host),
        log: createLogger({ level: "info", destination: (line) => log.push(JSON.parse(line)) }),
        keep: (overrides) => later(() => this.#receive(member, { kind: "keep", overrides })),
        read: <T extends Topic>() => host.registry.list() as Readings[T["about"]],
        catchUp: () => host.registry.sync(),
      },
      peers,
    )
    host.takenBack = (name, step, reason) => fleet.tell({ op: "rollback", name, step, reason })
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
  async pair(text: Partial<PluginText> = {}): Promise<readonly [Process, Process]> {
    await Bun.write(join(this.directory, "p.ts"), pluginText({ name: "p", ...text }))
    const [a, b] = [await this.start(), await this.start()]
    await Promise.all([a.fleet.join(), b.fleet.join()])
    return [a, b]
  }

  /** Saves a version of `p`, which some of them look at. */
  async advance(version: string, processes: readonly Process[] = this.processes): Promise<void> {
    await Bun.write(join(this.directory, "p.ts"), pluginText({ name: "p", version }))
    await Promise.all(processes.map(({ host }) => host.registry.sync()))
  }

  /** What serves as `p`, and the canary after it. */
  versions(): readonly string[] {
    return this.processes.map(({ host: { registry } }) => {
      const { version, canary } = registry.getInfo("p")
      return canary === null ? String(version) : `${version}, ${canary.version}`
    })
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

function commandServices({ registry, cacheEvents }: Harness) {
  const onCacheEvent = (event: CacheEvent) => void cacheEvents.push(event)
  return {
    registry,
    caches: new CacheKeeper({ registry, clock: systemClock, onCacheEvent }),
    async configure(plugin: string) {
      await registry.applyEntries()
      await registry.followEntry(plugin)
    },
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

const rollBack = ({ fleet, host }: Process) =>
  fleet.run({ op: "rollback", name: "p", step: host.registry.wayBack("p") })
const promote = ({ fleet, host }: Process) =>
  fleet.run({ op: "promote", name: "p", to: host.registry.promotable("p") })

describe("a rollback", () => {
  test("is done everywhere, whether the version before is still held or not", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await network.advance("2.0.0")
    for (let count = 0; count < 5; count++) b.host.registry.get("p")?.conduct.called()
    await b.host.heard("p gone 1")
    expect(a.host.said).not.toContain("p gone 1")
    await rollBack(a)
    expect(network.versions()).toEqual(["1.0.0", "1.0.0"])
    expect(b.host.registry.getInfo("p")).toMatchObject({ serves_previous: true, error: null })
  })

  test("goes back no further than to the version that is meant, however often it is told", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await network.advance("2.0.0")
    for (const { host } of [a, b])
      for (let count = 0; count < 5; count++) host.registry.get("p")?.conduct.called()
    await network.advance("3.0.0")
    const step = a.host.registry.wayBack("p")
    expect([step.from.version, step.to.version]).toEqual(["3.0.0", "2.0.0"])
    for (const { fleet } of [a, b, a]) {
      await fleet.run({ op: "rollback", name: "p", step })
      expect(network.versions()).toEqual(["2.0.0", "2.0.0"])
    }
  })

  test("asked of both at the same time is one rollback", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await network.advance("2.0.0")
    await Promise.all([rollBack(a), rollBack(b)])
    expect(network.versions()).toEqual(["1.0.0", "1.0.0"])
  })

  test("of settings brings the settings back everywhere", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    for (const { host } of [a, b]) {
      host.entries.p = { priority: 90 }
      await host.registry.applyEntries()
    }
    await rollBack(b)
    expect([a, b].map(({ host }) => host.registry.getInfo("p").priority)).toEqual([50, 50])
    // The same code, so only the settings say that it was done.
    const refused = await refusal(Promise.resolve().then(() => rollBack(a)))
    expect(refused.message).toContain("there is no earlier version")
  })

  test("keeps a process that has not seen the new version from loading it later", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await network.advance("2.0.0", [a])
    expect(network.versions()).toEqual(["2.0.0", "1.0.0"])
    await rollBack(a)
    await b.host.registry.sync()
    expect(network.versions()).toEqual(["1.0.0", "1.0.0"])
    expect(b.host.registry.getInfo("p").serves_previous).toBe(true)
  })

  test("ends the setup of the new version where that is still under way", async () => {
    using gate = new Gate()
    await using network = new Network()
    const more = "config: Type.Object({ waits: Type.Boolean({ default: false }) }),"
    const [a, b] = await network.pair({ more })
    b.host.entries.p = { config: { waits: true } }
    const setup = `if (config.waits) { say("p waits"); await ${gate.wait} }`
    a.host.write("p.ts", pluginText({ name: "p", version: "2.0.0", more, setup }))
    await a.host.registry.sync()
    const loading = b.host.registry.sync()
    await b.host.heard("p waits 0")
    await rollBack(a)
    gate.open()
    await loading
    expect(network.versions()).toEqual(["1.0.0", "1.0.0"])
  })

  test("is refused by a process that came later and never had the version before", async () => {
    await using network = new Network()
    const [a] = await network.pair()
    await network.advance("2.0.0")
    const late = await network.start()
    await late.fleet.join()
    const { code, message } = await refusal(rollBack(a))
    expect(code).toBe("processes_disagree")
    expect(message).toContain(`1 of 2 other processes did not follow: process ${late.pid}`)
    expect(message).toContain("the version that serves is 2.0.0, and the one before it none")
    expect(network.versions()).toEqual(["1.0.0", "1.0.0", "2.0.0"])
  })

  test("drops the canary everywhere, and nothing else where it is gone already", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await network.advance("2.0.0")
    for (const { host } of [a, b]) host.entries.p = { canary: 0.5 }
    await network.advance("3.0.0")
    expect(network.versions()).toEqual(["2.0.0, 3.0.0", "2.0.0, 3.0.0"])
    await b.host.registry.rollback("p")
    await rollBack(a)
    expect(network.versions()).toEqual(["2.0.0", "2.0.0"])
  })

  test("that a process does by itself is done by the others, which say why and tell nobody", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await network.advance("2.0.0")
    let told = 0
    const { takenBack } = b.host
    b.host.takenBack = (...args) => {
      told++
      takenBack?.(...args)
    }
    for (let count = 0; count < 2; count++) a.host.registry.get("p")?.conduct.failed("no luck")
    await waitFor("both to be back", () => network.versions().join() === "1.0.0,1.0.0")
    expect(b.host.errorOf("p")).toBe(a.host.errorOf("p"))
    expect(b.host.errorOf("p")).toContain("was taken back; 1.0.0 serves again. Last: no luck")
    // An answer to what is asked now comes after all that was told before.
    await b.fleet.gather({ about: "plugins" })
    expect({ told, versions: network.versions() }).toEqual({ told: 0, versions: ["1.0.0", "1.0.0"] })
    expect(a.log.concat(b.log).filter(({ message }) => String(message).includes("did not do"))).toEqual([])
  })

  test("that both come to by themselves is no quarrel", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await network.advance("2.0.0")
    for (const { host } of [a, b])
      for (let count = 0; count < 2; count++) host.registry.get("p")?.conduct.failed("no luck")
    await waitFor("both to be back", () => network.versions().join() === "1.0.0,1.0.0")
    await Promise.all([a.fleet.gather({ about: "plugins" }), b.fleet.gather({ about: "plugins" })])
    expect(network.versions()).toEqual(["1.0.0", "1.0.0"])
    expect(a.log.concat(b.log).filter(({ message }) => String(message).includes("did not do"))).toEqual([])
  })

  test("takes back everywhere what one process withdraws", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    await network.advance("2.0.0")
    const serving = a.host.registry.get("p")
    if (serving !== undefined) a.host.registry.withdraw(serving, "it failed")
    await waitFor("the other one to follow", () => b.host.versionOf("p") === "1.0.0")
    expect(network.versions()).toEqual(["1.0.0", "1.0.0"])
  })
})

describe("a promotion", () => {
  async function withCanary(network: Network): Promise<readonly [Process, Process]> {
    const [a, b] = await network.pair()
    for (const { host } of [a, b]) host.entries.p = { canary: 0.5 }
    await network.advance("2.0.0")
    return [a, b]
  }

  test("is done everywhere, and once where it is asked for twice", async () => {
    await using network = new Network()
    const [a, b] = await withCanary(network)
    expect(network.versions()).toEqual(["1.0.0, 2.0.0", "1.0.0, 2.0.0"])
    await Promise.all([promote(a), promote(b)])
    expect(network.versions()).toEqual(["2.0.0", "2.0.0"])
  })

  test("makes a process look that has not seen the canary yet", async () => {
    await using network = new Network()
    const [a, b] = await network.pair()
    for (const { host } of [a, b]) host.entries.p = { canary: 0.5 }
    await network.advance("2.0.0", [a])
    await promote(a)
    expect(network.versions()).toEqual(["2.0.0", "2.0.0"])
  })

  test("is refused by a process that has taken the canary back", async () => {
    await using network = new Network()
    const [a, b] = await withCanary(network)
    await b.host.registry.rollback("p")
    const { code, message } = await refusal(promote(a))
    expect(code).toBe("processes_disagree")
    expect(message).toContain(`process ${b.pid}: plugin "p" has no version 2.0.0 that is a canary`)
    expect(network.versions()).toEqual(["2.0.0", "1.0.0"])
  })
})

describe("new settings", () => {
  const SIZE = {
    more: "config: Type.Object({ size: Type.Number({ default: 1 }) }),",
    setup: `say("size", config.size); if (config.size === 13) throw new Error("bad luck")`,
  }
  const set = ({ host }: Process, size: number) => {
    host.entries.p = { config: { size } }
  }

  test("are followed within the reply, and what was done for them is done once", async () => {
    await using network = new Network()
    const [a, b] = await network.pair(SIZE)
    for (const each of [a, b]) set(each, 7)
    await a.fleet.run({ op: "configure", name: "p" }, () => a.host.registry.applyEntries())
    expect([a, b].map(({ host }) => host.said.filter((text) => text === "size 7"))).toEqual([
      ["size 7"],
      ["size 7"],
    ])
  })

  test("that another process cannot be set up with are an error that says so, and are tried again", async () => {
    await using network = new Network()
    const [a, b] = await network.pair(SIZE)
    set(a, 7)
    set(b, 13)
    const configure = () => a.fleet.run({ op: "configure", name: "p" }, () => a.host.registry.applyEntries())
    const { code, message } = await refusal(configure())
    expect(code).toBe("processes_disagree")
    expect(message).toContain(`process ${b.pid}: `)
    expect(message).toContain("bad luck")
    expect(b.host.said.filter((text) => text === "size 1")).toHaveLength(1)
    set(b, 7)
    await configure()
    expect(b.host.said).toContain("size 7")
  })

  test("that were gone back from are not brought back by an old change", async () => {
    await using network = new Network()
    const [a, b] = await network.pair(SIZE)
    for (const each of [a, b]) {
      set(each, 7)
      await each.host.registry.applyEntries()
    }
    await rollBack(a)
    b.host.said.length = 0
    await a.fleet.run({ op: "configure", name: "p" }, async () => {})
    expect(b.host.said).toEqual([])
  })
})

describe("the content of caches", () => {
  const CACHE = {
    type: "cache",
    setup: "const kept = new Map()",
    abilities: `distributed: false, get: (key) => kept.get(key), set: (key, value) => void kept.set(key, value),
      delete: (key) => kept.delete(key), clear: () => { say("cleared"); kept.clear() },
      stats: () => ({ hits: 1, misses: 2, sets: 3, deletes: 0, sizeBytes: 10, entries: kept.size, evictions: 0 })`,
  }
  const put = ({ host }: Process, key: string) =>
    host.registry.current.caches[0]?.set.call(key, new Uint8Array(1), {})

  test("is thrown away everywhere", async () => {
    await using network = new Network()
    const [a, b] = await network.pair(CACHE)
    await put(b, "k")
    expect(await a.fleet.run({ op: "clear-cache", name: "p" })).toBe(true)
    expect([a, b].map(({ host }) => host.said.filter((text) => text.startsWith("cleared")).length)).toEqual([
      1, 1,
    ])
    expect(await b.host.registry.current.caches[0]?.get.call("k")).toBeUndefined()
  })

  test("is thrown away by its key, wherever that is", async () => {
    await using network = new Network()
    const [a, b] = await network.pair(CACHE)
    await put(b, "k")
    expect(await a.fleet.run({ op: "delete-cached", name: "p", key: "k" })).toBe(true)
    expect(await a.fleet.run({ op: "delete-cached", name: "p", key: "k" })).toBe(false)
    expect([a, b].map(({ host }) => host.cacheEvents.length)).toEqual([0, 1])
  })

  test("makes no difference to other commands on the plugin", async () => {
    await using network = new Network()
    const [a, b] = await network.pair(CACHE)
    await Promise.all([
      a.fleet.run({ op: "reload", name: "p" }),
      b.fleet.run({ op: "clear-cache", name: "p" }),
    ])
    expect(a.host.said.filter((text) => text === "p up 1")).toHaveLength(2)
  })

  test("that another process cannot throw away is an error that says who and why", async () => {
    await using network = new Network()
    const [a, b] = await network.pair(CACHE)
    b.host.registry.disable("p")
    const { code, message } = await refusal(a.fleet.run({ op: "clear-cache", name: "p" }))
    expect(code).toBe("processes_disagree")
    expect(message).toContain(`process ${b.pid}: plugin "p" is no active cache`)
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
        const runs: Promise<unknown>[] = []
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
      ...commandServices(host),
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
