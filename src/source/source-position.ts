import { isAbsolute } from "node:path"

/** A place in a plugin's source. Lines and columns count from 1. */
export interface SourcePosition {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** A fault with its place, as `details.errors` of a GatewayError carries it. */
export interface SourceError extends SourcePosition {
  readonly message: string
}

const FRAME = /^\s*at (?:async )?(?:.*? \()?(.+?):(\d+):(\d+)\)?$/

/**
 * Where in these files an error was thrown: the innermost frame of its stack that lies in one of them.
 * Stacks of built plugins name the source already; Bun maps them through the linked source map.
 */
export function positionOf(thrown: unknown, files: readonly string[]): SourcePosition | undefined {
  if (!(thrown instanceof Error) || typeof thrown.stack !== "string") return undefined
  for (const frame of thrown.stack.split("\n")) {
    const [, file, line, column] = FRAME.exec(frame) ?? []
    if (file === undefined || !isAbsolute(file) || !files.includes(file)) continue
    return { file, line: Number(line), column: Number(column) }
  }
  return undefined
}

export function positionText({ file, line, column }: SourcePosition): string {
  return `${file}:${line}:${column}`
}
