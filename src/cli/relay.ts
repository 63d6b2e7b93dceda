/**
 * The supervisor's part in what the serving processes tell each other: it passes messages on, in the order in which
 * they came, and keeps what a process that starts later has to know. It looks into none of them.
 */
import type { FromSupervisor, Plan, ToSupervisor, Welcome } from "./messages.ts"

/** A serving process. */
export interface Member {
  readonly number: number
  readonly pid: number
  send(message: FromSupervisor): void
}

interface RelayOptions {
  /** The first process is ready: this is what all keep to. */
  onPlan(plan: Plan, announcement: string): void
}

export interface Relay {
  receive(member: Member, message: ToSupervisor): void
  /** The process has ended. */
  leave(member: Member): void
}

export function createRelay({ onPlan }: RelayOptions): Relay {
  const members = new Set<Member>()
  const joined = new Set<Member>()
  let plan: Plan | undefined
  let overrides: Welcome["overrides"]

  return { receive, leave }

  function receive(member: Member, message: ToSupervisor): void {
    switch (message.kind) {
      case "hello":
        members.add(member)
        member.send({ kind: "welcome", number: member.number, plan, overrides })
        break
      case "plan":
        if (plan !== undefined) return
        plan = message.plan
        onPlan(plan, message.announcement)
        break
      case "join":
        joined.add(member)
        member.send({ kind: "joined" })
        break
      case "keep":
        overrides = message.overrides
        break
      case "ask":
        ask(member, message)
        break
      case "answer":
        answer(member, message)
    }
  }

  function answer({ pid }: Member, { id, to, answer }: ToSupervisor & { kind: "answer" }): void {
    const asker = [...members].find((member) => member.pid === to)
    asker?.send({ kind: "answer", id, from: pid, answer })
  }

  /** One that has not joined yet is asked too, but not waited for: it answers before it serves. */
  function ask(asker: Member, { id, question }: ToSupervisor & { kind: "ask" }): void {
    const others = [...members].filter((member) => member !== asker)
    const pids = others.filter((member) => joined.has(member)).map(({ pid }) => pid)
    asker.send({ kind: "asked", id, pids })
    for (const other of others) other.send({ kind: "ask", id, from: asker.pid, question })
  }

  function leave(member: Member): void {
    joined.delete(member)
    if (!members.delete(member)) return
    for (const other of members) other.send({ kind: "left", pid: member.pid })
  }
}
