/** Bun's package manager. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { GatewayError } from "../errors.ts"
import { runBun } from "./own-bun.ts"
import type { Terminal } from "./terminal.ts"

interface ManagerOptions {
  /** Where node_modules is, or will be. */
  readonly directory: string
  readonly env: Terminal["env"]
}

/** Adds a package, without running any script of it. @throws GatewayError `plugin_load_failed` */
export async function addPackage(spec: string, options: ManagerOptions): Promise<void> {
  const manifest = join(options.directory, "package.json")
  const isNew = !existsSync(manifest)
  mkdirSync(options.directory, { recursive: true })
  // Without one here, the package manager would take the nearest one above.
  if (isNew) writeFileSync(manifest, `${JSON.stringify({ private: true }, null, 2)}\n`)
  try {
    await run(["add", "--exact", "--ignore-scripts", spec], options)
  } catch (thrown) {
    if (isNew) rmSync(manifest, { force: true })
    throw thrown
  }
}

/** @throws GatewayError `plugin_load_failed` */
export async function removePackage(name: string, options: ManagerOptions): Promise<void> {
  await run(["remove", "--ignore-scripts", name], options)
}

/** The version that is installed; undefined where it is not. */
export function installedVersion(name: string, directory: string): string | undefined {
  try {
    const { version } = JSON.parse(
      readFileSync(join(directory, "node_modules", name, "package.json"), "utf8"),
    )
    return typeof version === "string" ? version : undefined
  } catch {
    return undefined
  }
}

async function run(args: readonly string[], { directory, env }: ManagerOptions): Promise<void> {
  const { exitCode, stdout, stderr } = await runBun(args, { cwd: directory, env })
  if (exitCode === 0) return
  const why = `${stderr}\n${stdout}`
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => /^(?:error|warn)\b/i.test(line))
    .join("; ")
  const message = `bun ${args.join(" ")} failed in ${directory}: ${why || `it ended with ${exitCode}`}`
  throw new GatewayError("plugin_load_failed", message)
}
