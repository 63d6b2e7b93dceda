/** The other serving processes, reached through the supervisor. */
import type { Clock } from "../clock.ts"
import { GatewayError } from "../errors.ts"
import type { Asked, Peers, Question, Reply } from "../fleet/fleet.ts"
import type { FromSupervisor, ToSupervisor } from "./messages.ts"

interface IpcPeersOptions {
  readonly clock: Clock
  readonly send: (message: ToSupervisor) => void
}

type Incoming = FromSupervisor & { kind: "ask" }

export class IpcPeers implements Peers {
  readonly #options: IpcPeersOptions
  readonly #rounds = new Map<number, Round>()
  readonly #joined = Promise.withResolvers<void>()
  #lastId = 0
  #answer: ((question: Question) => Promise<unknown>) | undefined
  /** What came before this process could answer. */
  #early: readonly Incoming[] = []

  constructor(options: IpcPeersOptions) {
    this.#options = options
  }

  ask(question: Question, deadlineMs: number): Asked {
    const id = ++this.#lastId
    const round = new Round()
    this.#rounds.set(id, round)
    const cancel = this.#options.clock.after(deadlineMs, () => round.giveUp())
    this.#options.send({ kind: "ask", id, question })
    const replies = round.replies.finally(() => {
      cancel()
      this.#rounds.delete(id)
    })
    return { placed: round.placed, replies }
  }

  async join(answer: (question: Question) => Promise<unknown>): Promise<void> {
    this.#options.send({ kind: "join" })
    await this.#joined.promise
    this.#answer = answer
    const early = this.#early
    this.#early = []
    await Promise.all(early.map((incoming) => this.#reply(incoming)))
  }

  receive(message: Exclude<FromSupervisor, { kind: "welcome" }>): void {
    switch (message.kind) {
      case "asked":
        this.#rounds.get(message.id)?.begin(message.pids)
        break
      case "answer":
        this.#rounds.get(message.id)?.add(message.from, message.answer)
        break
      case "left":
        for (const round of this.#rounds.values()) round.drop(message.pid)
        break
      case "ask":
        if (this.#answer === undefined) this.#early = [...this.#early, message]
        else void this.#reply(message)
        break
      case "joined":
        this.#joined.resolve()
    }
  }

  /** Nobody passes anything on any more. */
  lost(): void {
    this.#joined.resolve()
    for (const round of this.#rounds.values()) round.giveUp()
  }

  async #reply({ id, from, question }: Incoming): Promise<void> {
    const answer = await this.#answer?.(question)
    this.#options.send({ kind: "answer", id, to: from, answer })
  }
}

/** One question and what comes back to it. */
class Round {
  readonly #placed = Promise.withResolvers<void>()
  readonly #replies = Promise.withResolvers<readonly Reply[]>()
  readonly #waitsFor = new Set<number>()
  readonly #have: Reply[] = []
  #isPlaced = false

  constructor() {
    // Who only wants the replies need not care.
    this.placed.catch(() => {})
  }

  get placed(): Promise<void> {
    return this.#placed.promise
  }

  get replies(): Promise<readonly Reply[]> {
    return this.#replies.promise
  }

  begin(pids: readonly number[]): void {
    for (const pid of pids) this.#waitsFor.add(pid)
    this.#isPlaced = true
    this.#placed.resolve()
    this.#look()
  }

  add(pid: number, answer: unknown): void {
    // One that was not waited for answers too.
    if (!this.#waitsFor.delete(pid)) return
    this.#have.push({ pid, isSilent: false, answer })
    this.#look()
  }

  drop(pid: number): void {
    if (this.#waitsFor.delete(pid)) this.#look()
  }

  giveUp(): void {
    for (const pid of this.#waitsFor) this.#have.push({ pid, isSilent: true })
    this.#waitsFor.clear()
    if (!this.#isPlaced) this.#placed.reject(unreachable())
    this.#look()
  }

  #look(): void {
    if (this.#waitsFor.size === 0) this.#replies.resolve(this.#have)
  }
}

function unreachable(): GatewayError {
  const message =
    "it was done here, but the supervisor does not pass it on to the other processes; send it again"
  return new GatewayError("processes_disagree", message)
}
