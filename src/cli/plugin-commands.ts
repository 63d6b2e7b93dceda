/** The commands for those who write plugins. */
import { type Command, InvalidArgumentError, Option } from "commander"
import { PLUGIN_TYPES } from "../plugin/contract.ts"
import type { Terminal } from "./terminal.ts"

interface Surroundings {
  readonly terminal: Terminal
  /** Adds `--config`. */
  withConfig(command: Command): Command
  exitWith(code: number): void
}

export function addAuthorCommands(plugin: Command, { terminal, withConfig, exitWith }: Surroundings): void {
  withConfig(plugin.command("new"))
    .argument("<name>", "the plugin's name, such as my-plugin")
    .description("write a working plugin and its test")
    .addOption(new Option("--type <type>", "what kind of plugin").choices(PLUGIN_TYPES).makeOptionMandatory())
    .addHelpText("after", examples("new greeting --type middleware", "new my-llm --type provider"))
    .action(async (name, options) => {
      const { newPlugin } = await import("./plugin-new.ts")
      exitWith(await newPlugin(name, options, terminal))
    })

  withConfig(plugin.command("types"))
    .description("write the SDK beside the plugins: types for editors, the harness for tests")
    .addHelpText("after", examples("types"))
    .action(async (options) => {
      const { writeTypes } = await import("./plugin-types.ts")
      exitWith(await writeTypes(options, terminal))
    })

  withConfig(plugin.command("verify"))
    .argument("[plugins...]", "paths or names; none: all of the directory")
    .description("check types, imports, definition and config; exit code 1 if something is wrong")
    .addHelpText("after", examples("verify", "verify my-plugin", "verify ../elsewhere/plugin.ts"))
    .action(async (plugins, options) => {
      const { verifyPlugins } = await import("./plugin-verify.ts")
      exitWith(await verifyPlugins(plugins, options, terminal))
    })

  withConfig(plugin.command("test"))
    .argument("[plugins...]", "paths or names; none: all tests of the directory")
    .description("run the plugins' tests")
    .option("--watch", "run them again after every change")
    .addHelpText("after", examples("test", "test my-plugin --watch"))
    .action(async (plugins, options) => {
      const { testPlugins } = await import("./plugin-test.ts")
      exitWith(await testPlugins(plugins, options, terminal))
    })

  withConfig(plugin.command("build"))
    .argument("<plugin>", "a path or a name")
    .description("bundle a plugin and its packages into one file")
    .option("--out <file>", "where to (default: dist/<name>.mjs)")
    .addHelpText("after", examples("build my-plugin", "build ./plugins/my-plugin --out /tmp/my-plugin.mjs"))
    .action(async (target, options) => {
      const { buildPlugin } = await import("./plugin-build.ts")
      exitWith(await buildPlugin(target, options, terminal))
    })

  withConfig(plugin.command("bench"))
    .argument("<plugin>", "a path or a name")
    .description("measure what a plugin costs, call by call")
    .option("--rounds <number>", "with and without the plugin, in turn", parseRounds, 10)
    .addHelpText("after", examples("bench my-plugin", "bench my-plugin --rounds 50"))
    .action(async (target, options) => {
      const { benchPlugin } = await import("./plugin-bench.ts")
      exitWith(await benchPlugin(target, options, terminal))
    })
}

function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  leapgate plugin ${line}`).join("\n")}`
}

const MAX_ROUNDS = 1000

function parseRounds(text: string): number {
  const rounds = Number(text)
  if (/^\d+$/.test(text) && rounds >= 1 && rounds <= MAX_ROUNDS) return rounds
  throw new InvalidArgumentError(`It must be a number from 1 to ${MAX_ROUNDS}.`)
}
