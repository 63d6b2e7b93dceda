/** Where a command reads from and writes to. */
export interface Terminal {
  /** Results, for people and for pipes. */
  out(text: string): void
  /** What went wrong. */
  err(text: string): void
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

export function systemTerminal(): Terminal {
  return { out: console.log, err: console.error, env: process.env, cwd: process.cwd() }
}
