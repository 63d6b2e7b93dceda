/**
 * All processes that serve together, seen from one of them. Each has plugins of its own; an operation that one is
 * asked for, or comes to by itself, is done by the others too.
 *
 * The supervisor passes messages on in one order for all. A process runs its own command before that command has a
 * place in the order; where another one on the same plugin turns out to stand before it, it runs its own again, so
 * that all end alike.
 */
import { type ErrorCode, GatewayError, toGatewayError } from "../errors.ts"
import type { Logger } from "../telemetry/logger.ts"
import { type PluginCommand, runCommand } from "./commands.ts"
import type { Reading, Readings, Topic } from "./readings.ts"
import type { PluginRegistry } from "./registry.ts"
import type { Overrides } from "./roster.ts"

export interface Fleet {
  /** Whether no other process serves with this one. */
  readonly isAlone: boolean
  /** From here on this process does what the others tell it. Resolves when it has done what came before. */
  join(): Promise<void>
  /**
   * Runs a command here and, if that is good, in all others.
   * @throws GatewayError why it was not done here: then it is done nowhere; or `processes_disagree`
   */
  run(command: PluginCommand): Promise<void>
  /** Has the others do what this process did by itself. Nobody waits for it. */
  tell(command: PluginCommand): void
  /** Asks every process, this one too, which comes first. */
  gather<T extends Topic>(topic: T): Promise<readonly Reading<Readings[T["about"]]>[]>
  /** Has what was switched here against the configuration survive this process. */
  keep(): void
}

export type Question =
  | { readonly ask: "run"; readonly command: PluginCommand }
  | { readonly ask: "read"; readonly topic: Topic }

/** One other process's reply. */
export type Reply =
  | { readonly pid: number; readonly isSilent: false; readonly answer: unknown }
  | { readonly pid: number; readonly isSilent: true }

/** The way to the other processes. What is said on it arrives everywhere in the same order. */
export interface Peers {
  /** Asks all others that serve. One that ends before it answers is left out. */
  ask(question: Question, deadlineMs: number): Asked
  /** Answers the others from now on. Resolves when those questions are answered that nobody waits for an answer to. */
  join(answer: (question: Question) => Promise<unknown>): Promise<void>
}

export interface Asked {
  /** Resolves when the question has its place in the order. */
  readonly placed: Promise<void>
  readonly replies: Promise<readonly Reply[]>
}

interface FleetOptions {
  readonly registry: PluginRegistry
  readonly log: Logger
  /** None where this process serves alone. */
  readonly peers?: Peers | undefined
  /** Keeps what a process that starts in the place of this one comes up with. */
  readonly keep?: ((overrides: Overrides) => void) | undefined
  readonly read: <T extends Topic>(topic: T) => Readings[T["about"]]
  /** Brings the plugins in line with the directory, where that is followed. */
  readonly catchUp: () => Promise<void>
}

/** What the others get on top of the time that the command took here. */
const RUN_DEADLINE_MS = 10_000
const READ_DEADLINE_MS = 2000

export function createFleet({ registry, log, peers, keep, read, catchUp }: FleetOptions): Fleet {
  const keepOverrides = () => keep?.(registry.overrides())
  const own = <T extends Topic>(topic: T) => ({ pid: process.pid, value: read(topic) })
  if (peers === undefined) {
    return {
      isAlone: true,
      join: async () => {},
      async run(command) {
        await runCommand(registry, command)
        keepOverrides()
      },
      tell: keepOverrides,
      gather: async (topic) => [own(topic)],
      keep: keepOverrides,
    }
  }
  const others = peers
  /** Commands of this process that have no place in the order yet. */
  const unplaced = new Set<OwnCommand>()
  /** By the name of the plugin: the last command that is under way here, whoever it is from. */
  const newest = new Map<string, PluginCommand>()
  return { isAlone: false, join: () => others.join(answer), run, tell, gather, keep: keepOverrides }

  async function run(command: PluginCommand): Promise<void> {
    const startedMs = performance.now()
    const mine = { command, isOvertaken: false }
    unplaced.add(mine)
    newest.set(command.name, command)
    try {
      await runCommand(registry, command)
      await haveFollowed(mine, RUN_DEADLINE_MS + performance.now() - startedMs)
    } finally {
      unplaced.delete(mine)
      forget(command)
    }
  }

  function tell(command: PluginCommand): void {
    const mine = { command, isOvertaken: false }
    unplaced.add(mine)
    haveFollowed(mine, RUN_DEADLINE_MS)
      .catch((thrown: unknown) => {
        const { name, op } = command
        log.warn("an operation on a plugin was not followed", { plugin: name, op, error: thrown })
      })
      .finally(() => unplaced.delete(mine))
  }

  /** What this process has done, the others are to do. */
  async function haveFollowed(mine: OwnCommand, deadlineMs: number): Promise<void> {
    keepOverrides()
    const { placed, replies } = others.ask({ ask: "run", command: mine.command }, deadlineMs)
    await placed
    unplaced.delete(mine)
    if (mine.isOvertaken) await runAgain(mine.command)
    assertFollowed(mine.command, await replies, deadlineMs)
  }

  async function runAgain(command: PluginCommand): Promise<void> {
    await runCommand(registry, command)
    keepOverrides()
  }

  async function gather<T extends Topic>(topic: T): Promise<readonly Reading<Readings[T["about"]]>[]> {
    const { replies } = others.ask({ ask: "read", topic }, READ_DEADLINE_MS)
    const here = own(topic)
    const read = (await replies).map((reply) => ({
      pid: reply.pid,
      value: reply.isSilent ? undefined : (reply.answer as Readings[T["about"]]),
    }))
    return [here, ...read]
  }

  async function answer(question: Question): Promise<unknown> {
    if (question.ask === "read") return read(question.topic)
    try {
      await follow(question.command)
      return null
    } catch (thrown) {
      const { code, message } = toGatewayError(thrown)
      log.warn("an operation of another process was not followed", { ...question.command, error: thrown })
      return { code, message } satisfies Refusal
    }
  }

  async function follow(command: PluginCommand): Promise<void> {
    for (const mine of unplaced) mine.isOvertaken ||= mine.command.name === command.name
    newest.set(command.name, command)
    try {
      await runCommand(registry, command)
    } catch {
      // It could be done elsewhere: this process may only not have seen a new file yet, or was just reading it.
      await catchUp()
      // What was asked for since then counts, and may be what stopped this.
      if (newest.get(command.name) === command) await runCommand(registry, command)
    } finally {
      keepOverrides()
      forget(command)
    }
  }

  function forget(command: PluginCommand): void {
    if (newest.get(command.name) === command) newest.delete(command.name)
  }
}

interface OwnCommand {
  readonly command: PluginCommand
  /** Another process's command on the same plugin stands before it, and was run after it here. */
  isOvertaken: boolean
}

/** Why a process did not follow. */
interface Refusal {
  readonly code: ErrorCode
  readonly message: string
}

function assertFollowed({ op, name }: PluginCommand, replies: readonly Reply[], deadlineMs: number): void {
  const faults = replies.flatMap((reply) => {
    if (reply.isSilent) return [`process ${reply.pid} did not answer within ${Math.round(deadlineMs)} ms`]
    const refusal = reply.answer as Refusal | null
    return refusal === null || refusal.code === "shutting_down"
      ? []
      : [`process ${reply.pid}: ${refusal.message} (${refusal.code})`]
  })
  if (faults.length === 0) return
  throw new GatewayError(
    "processes_disagree",
    `${op} of plugin "${name}" was done here, but ${faults.length} of ${replies.length} other processes did not follow: ${faults.join("; ")}; see "processes" of /admin/plugins/${name}, and send it again`,
  )
}
