import { loadConfig } from "../config/load.ts"
import { GatewayError } from "../errors.ts"
import { pluginDirectory } from "../plugin-settings.ts"
import { bunEnv } from "./own-bun.ts"
import { homeOf, pluginTargets, testsIn, testsOf } from "./plugin-target.ts"
import { bringTypes } from "./plugin-types.ts"
import type { ConfigOption } from "./program.ts"
import { followStopSignals } from "./stop-signals.ts"
import type { Terminal } from "./terminal.ts"

interface TestPluginsOptions extends ConfigOption {
  readonly watch?: true
}

/** Runs plugins' tests with Bun's runner, which is inside the binary too. */
export async function testPlugins(
  targets: readonly string[],
  { config: path, watch }: TestPluginsOptions,
  { env, cwd, out }: Terminal,
): Promise<number> {
  const loaded = loadConfig({ path, env, cwd })
  const directory = pluginDirectory(loaded)
  const plugins = targets.length === 0 ? [] : await pluginTargets(targets, loaded, cwd)
  const files =
    targets.length === 0
      ? found(testsIn(directory), directory)
      : plugins.flatMap((plugin) => found(testsOf(plugin, directory), plugin.file))
  const homes = plugins.length === 0 ? [directory] : plugins.map((plugin) => homeOf(plugin, directory))
  for (const home of new Set(homes)) for (const sentence of await bringTypes(home)) out(sentence)

  const flags = watch ? ["--watch"] : []
  const child = Bun.spawn([process.execPath, "test", ...flags, ...files], {
    cwd: directory,
    env: bunEnv(env),
    stdio: ["inherit", "inherit", "inherit"],
  })
  followStopSignals({ first: (signal) => child.kill(signal), again: () => child.kill("SIGKILL") })
  await child.exited
  return child.exitCode ?? 1
}

function found(tests: readonly string[], where: string): readonly string[] {
  if (tests.length > 0) return tests
  throw new GatewayError(
    "not_found",
    `${where} has no test; one beside a plugin is called like it: name.test.ts`,
  )
}
