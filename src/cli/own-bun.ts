/** Bun itself, which is in this very executable: the compiled one becomes it by a variable. */
import type { Terminal } from "./terminal.ts"

interface BunOptions {
  /** Where it runs. */
  readonly cwd: string
  readonly env: Terminal["env"]
}

interface Ended {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

export async function runBun(args: readonly string[], { cwd, env }: BunOptions): Promise<Ended> {
  const child = Bun.spawn([process.execPath, ...args], {
    cwd,
    env: bunEnv(env),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { exitCode: child.exitCode, stdout, stderr }
}

export function bunEnv(env: Terminal["env"]): Terminal["env"] {
  return { ...env, BUN_BE_BUN: "1" }
}
