import { run } from "../../src/cli/program.ts"

export interface Outcome {
  readonly exitCode: number
  readonly out: string
  readonly err: string
}

/** Runs a command in this process, as in a folder and an environment of its own. */
export async function runCommand(
  args: readonly string[],
  { cwd, env = {} }: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): Promise<Outcome> {
  const out: string[] = []
  const err: string[] = []
  const exitCode = await run(args, {
    out: (text) => out.push(text),
    err: (text) => err.push(text),
    env,
    cwd,
  })
  return { exitCode, out: out.join("\n"), err: err.join("\n") }
}
