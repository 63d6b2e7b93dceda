/**
 * All processes that serve together, seen from one of them. Each has plugins of its own; an operation that one is
 * asked for, or comes to by itself, is done by the others too.
 */

import type { Awaitable } from "../plugin/contract.ts"
import type { Overrides } from "../plugin/roster.ts"
import type { Logger } from "../telemetry/logger.ts"
import { type CommandServices, type PluginCommand, runCommand } from "./commands.ts"
import { ConnectedFleet } from "./connected-fleet.ts"
import type { Reading, Readings, Topic } from "./readings.ts"

export interface Fleet {
  /** Whether no other process serves with this one. */
  readonly isAlone: boolean
  /** From here on this process does what the others tell it. Resolves when it has done what came before. */
  join(): Promise<void>
  /**
   * Runs a command here and, if that is good, in all others.
   * @param first does it here in the place of the command, where there is more to do for who was asked
   * @returns whether any process found what it is about
   * @throws GatewayError why it was not done here: then nobody waits for the others; or `processes_disagree`
   */
  run(command: PluginCommand, first?: () => Promise<unknown>): Promise<boolean>
  /** Runs a command here, and in no other process. */
  runHere(command: PluginCommand): Promise<boolean>
  /** Has the others do what this process did by itself. Nobody waits for it; what goes wrong is logged. */
  tell(command: PluginCommand): void
  /** Asks every process; this one's answer comes first. */
  gather<T extends Topic>(topic: T): Promise<readonly Reading<Readings[T["about"]]>[]>
  /** Has what was set against the configuration here outlive this process. */
  keep(): void
}

/** The way to the other processes. What is said on it arrives everywhere in the same order. */
export interface Peers {
  /** Asks all others that serve. One that ends before it answers is left out. */
  ask(question: Question, deadlineMs: number): Asked
  /** Answers the others from now on. Resolves when that is done which nobody waits for. */
  join(answer: (question: Question) => Promise<unknown>): Promise<void>
}

export type Question =
  | { readonly ask: "run"; readonly command: PluginCommand }
  | { readonly ask: "read"; readonly topic: Topic }

export interface Asked {
  /** Resolves when the question has its place in the order; rejects where it got none in time. */
  readonly placed: Promise<void>
  readonly replies: Promise<readonly Reply[]>
}

/** One other process's reply. */
export type Reply =
  | { readonly pid: number; readonly isSilent: false; readonly answer: unknown }
  | { readonly pid: number; readonly isSilent: true }

/** What one process knows. */
export interface FleetServices extends CommandServices {
  readonly log: Logger
  /** Keeps what a process that starts in the place of this one comes up with. */
  readonly keep: (overrides: Overrides) => void
  readonly read: <T extends Topic>(topic: T) => Awaitable<Readings[T["about"]]>
  /** Brings the plugins in line with the configuration, and with the directory, where that is followed. */
  readonly catchUp: () => Promise<void>
}

/** @param peers none where this process serves alone. */
export function createFleet(services: FleetServices, peers: Peers | undefined): Fleet {
  return peers === undefined ? aloneFleet(services) : new ConnectedFleet(services, peers)
}

function aloneFleet(services: FleetServices): Fleet {
  const { registry, keep, read } = services
  const keepOverrides = () => keep(registry.overrides())
  return {
    isAlone: true,
    async join() {},
    async run(command, first) {
      try {
        if (first === undefined) return await runCommand(services, command)
        await first()
        return true
      } finally {
        keepOverrides()
      }
    },
    runHere: (command) => runCommand(services, command),
    tell: keepOverrides,
    async gather(topic) {
      return [{ pid: process.pid, value: await read(topic) }]
    },
    keep: keepOverrides,
  }
}
