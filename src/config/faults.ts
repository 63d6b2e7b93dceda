/** What is wrong with a config, in sentences that name the place and the fix. */
import { GatewayError } from "../errors.ts"
import { type Pointer, pathOf } from "./pointer.ts"
import type { Place, Tree } from "./tree.ts"

/** One fault as the checks find it. */
export interface Problem {
  readonly pointer: Pointer
  /** The key is at fault where it is unknown; the value everywhere else. */
  readonly part?: "key" | "value"
  /** Where it is, if the pointer does not say. */
  readonly place?: Place
  readonly message: string
}

/** One fault as it is reported. */
export interface Fault {
  readonly file: string
  readonly line: number
  readonly column: number
  /** `providers[0].timeout.connect`; empty for the file as a whole. */
  readonly path: string
  readonly message: string
}

/** The faults in the order of the file; only the first of several at one place. */
export function faultsOf(problems: readonly Problem[], tree: Tree, file: string): readonly Fault[] {
  const seen = new Set<Pointer>()
  const faults: Fault[] = []
  for (const { pointer, part = "value", place = tree.placeOf(pointer, part), message } of problems) {
    if (pointer !== "" && seen.has(pointer)) continue
    seen.add(pointer)
    faults.push({ file, ...place, path: pathOf(pointer), message })
  }
  return faults.sort((a, b) => a.line - b.line || a.column - b.column)
}

export function describeFault({ file, line, column, path, message }: Fault): string {
  return `${file}:${line}:${column} ${path === "" ? "" : `${path} `}${message}`
}

export function configInvalid(file: string, faults: readonly Fault[]): GatewayError {
  const count = faults.length === 1 ? "a fault" : `${faults.length} faults`
  const lines = faults.map((fault) => `\n  ${describeFault(fault)}`)
  return new GatewayError("config_invalid", `${file} has ${count}:${lines.join("")}`, { details: { faults } })
}
