/**
 * A fleet of several processes. Commands have one order for all, but a process runs its own before that has a place
 * in it. Where another one on the same plugin turns out to stand before, it runs its own again: so all end alike.
 */
import { type ErrorCode, GatewayError, toGatewayError } from "../errors.ts"
import { isOfContent, type PluginCommand, runCommand } from "./commands.ts"
import type { Fleet, FleetServices, Peers, Question, Reply } from "./fleet.ts"
import type { Reading, Readings, Topic } from "./readings.ts"

/** What the others get on top of the time that the command took here. */
const RUN_DEADLINE_MS = 10_000
const READ_DEADLINE_MS = 2000

interface OwnCommand {
  readonly command: PluginCommand
  /** Something on the same plugin stands before it and was run after it here. */
  isOvertaken: boolean
}

/** Why a process did not follow. */
interface Refusal {
  readonly code: ErrorCode
  readonly message: string
}

export class ConnectedFleet implements Fleet {
  readonly isAlone = false
  readonly #services: FleetServices
  readonly #peers: Peers
  /** Commands of this process that have no place in the order yet. */
  readonly #unplaced = new Set<OwnCommand>()
  /** By the name of the plugin: the last command that is under way here, whoever it is from. */
  readonly #newest = new Map<string, PluginCommand>()

  constructor(services: FleetServices, peers: Peers) {
    this.#services = services
    this.#peers = peers
  }

  join(): Promise<void> {
    return this.#peers.join((question) => this.#answer(question))
  }

  run(command: PluginCommand, first: () => Promise<unknown> = () => this.runHere(command)): Promise<boolean> {
    return this.#asOwn(command, async (mine) => {
      const startedMs = performance.now()
      const isFound = await this.#runFirst(command, first)
      const others = await this.#haveFollowed(mine, RUN_DEADLINE_MS + performance.now() - startedMs)
      return isFound !== false || others.includes(true)
    })
  }

  runHere(command: PluginCommand): Promise<boolean> {
    return runCommand(this.#services, command)
  }

  tell(command: PluginCommand): void {
    this.#asOwn(command, (mine) => this.#haveFollowed(mine, RUN_DEADLINE_MS)).catch((error: unknown) => {
      const { name: plugin, op } = command
      this.#services.log.warn("other processes did not do what this one did", { plugin, op, error })
    })
  }

  async gather<T extends Topic>(topic: T): Promise<readonly Reading<Readings[T["about"]]>[]> {
    const { replies } = this.#peers.ask({ ask: "read", topic }, READ_DEADLINE_MS)
    const own = { pid: process.pid, value: await this.#services.read(topic) }
    const others = (await replies).map((reply) => ({
      pid: reply.pid,
      value: reply.isSilent ? undefined : (reply.answer as Readings[T["about"]]),
    }))
    return [own, ...others]
  }

  keep(): void {
    this.#services.keep(this.#services.registry.overrides())
  }

  async #asOwn<T>(command: PluginCommand, work: (mine: OwnCommand) => Promise<T>): Promise<T> {
    const mine = { command, isOvertaken: false }
    if (!isOfContent(command)) {
      this.#unplaced.add(mine)
      this.#newest.set(command.name, command)
    }
    try {
      return await work(mine)
    } finally {
      this.#unplaced.delete(mine)
      this.#forget(command)
    }
  }

  async #runFirst<T>(command: PluginCommand, first: () => Promise<T>): Promise<T> {
    const { registry } = this.#services
    const before = registry.overrides()
    try {
      return await first()
    } catch (thrown) {
      // A plugin that was switched on and cannot be set up stays switched on: the others have to know that too.
      const hasLeftTraces = !Bun.deepEquals(before, registry.overrides())
      if (hasLeftTraces && this.#newest.get(command.name) === command) this.tell(command)
      throw thrown
    }
  }

  /** What this process has done, the others are to do. @returns whether they found what it is about */
  async #haveFollowed(mine: OwnCommand, deadlineMs: number): Promise<readonly boolean[]> {
    const { command } = mine
    this.keep()
    const { placed, replies } = this.#peers.ask({ ask: "run", command }, deadlineMs)
    await placed
    this.#unplaced.delete(mine)
    if (mine.isOvertaken) {
      this.#overtake(command)
      await this.runHere(command)
      this.keep()
    }
    const answers = await replies
    assertFollowed(command, answers, deadlineMs)
    return answers.map((reply) => !reply.isSilent && reply.answer === true)
  }

  async #answer(question: Question): Promise<unknown> {
    if (question.ask === "read") return this.#services.read(question.topic)
    const { command } = question
    try {
      return await this.#follow(command)
    } catch (thrown) {
      const { code, message } = toGatewayError(thrown)
      const fields = { plugin: command.name, op: command.op, error: thrown }
      this.#services.log.warn("this process did not do what another one did", fields)
      return { code, message } satisfies Refusal
    }
  }

  async #follow(command: PluginCommand): Promise<boolean> {
    const { catchUp } = this.#services
    this.#overtake(command)
    try {
      // What is to be gone back from must not come after that.
      if (command.op === "rollback") await catchUp()
      return await this.runHere(command)
    } catch {
      // It could be done elsewhere: this process may only not have seen a new file yet, or was just reading it.
      await catchUp()
      // What was asked for since then counts, and may be what stopped this.
      if (!isOfContent(command) && this.#newest.get(command.name) !== command) return false
      return await this.runHere(command)
    } finally {
      this.keep()
      this.#forget(command)
    }
  }

  /** What has a place in the order stands before all that has none yet. */
  #overtake(command: PluginCommand): void {
    if (isOfContent(command)) return
    for (const mine of this.#unplaced) mine.isOvertaken ||= mine.command.name === command.name
    this.#newest.set(command.name, command)
  }

  #forget(command: PluginCommand): void {
    if (this.#newest.get(command.name) === command) this.#newest.delete(command.name)
  }
}

function assertFollowed({ op, name }: PluginCommand, replies: readonly Reply[], deadlineMs: number): void {
  const faults = replies.flatMap((reply) => {
    if (reply.isSilent) return [`process ${reply.pid} did not answer within ${Math.round(deadlineMs)} ms`]
    const refusal = reply.answer as Refusal | boolean
    // A process that ends need not follow.
    if (typeof refusal === "boolean" || refusal.code === "shutting_down") return []
    return [`process ${reply.pid}: ${refusal.message} (${refusal.code})`]
  })
  if (faults.length === 0) return
  throw new GatewayError(
    "processes_disagree",
    `${op} of plugin "${name}" was done here, but ${faults.length} of ${replies.length} other processes did not follow: ${faults.join("; ")}; look at "processes" of /admin/plugins/${name} before you send it again`,
  )
}
