/** What the supervisor and the serving processes say to each other, beside signs of life. Types only. */
import type { Question } from "../fleet/fleet.ts"
import type { Overrides } from "../plugin/roster.ts"

/** What stays as it is while the supervisor runs, whatever becomes of the config file. */
export interface Plan {
  /** How many processes serve. */
  readonly workers: number
  readonly host: string
  readonly port: number
  /** `admin.listen`. */
  readonly adminListen: string
}

export type ToSupervisor =
  /** The first thing that a process says. */
  | { readonly kind: "hello" }
  /** `announcement` is for the user, once all serve. */
  | { readonly kind: "plan"; readonly plan: Plan; readonly announcement: string }
  /** From now on the others wait for what this process answers. */
  | { readonly kind: "join" }
  | { readonly kind: "keep"; readonly overrides: Overrides }
  | { readonly kind: "ask"; readonly id: number; readonly question: Question }
  | { readonly kind: "answer"; readonly id: number; readonly to: number; readonly answer: unknown }

export interface Welcome {
  readonly number: number
  /** There is one where a process was ready before. */
  readonly plan?: Plan | undefined
  readonly overrides?: Overrides | undefined
}

export type FromSupervisor =
  | ({ readonly kind: "welcome" } & Welcome)
  | { readonly kind: "joined" }
  /** Who will answer: those that have joined. */
  | { readonly kind: "asked"; readonly id: number; readonly pids: readonly number[] }
  | { readonly kind: "ask"; readonly id: number; readonly from: number; readonly question: Question }
  | { readonly kind: "answer"; readonly id: number; readonly from: number; readonly answer: unknown }
  | { readonly kind: "left"; readonly pid: number }
