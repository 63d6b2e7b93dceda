/** The command line: its words, and what a wrong one is answered with. Commands load when they are asked for. */
import { Command, CommanderError, InvalidArgumentError } from "commander"
import packageJson from "../../package.json" with { type: "json" }
import { GatewayError, messageOf } from "../errors.ts"
import { addAuthorCommands } from "./plugin-commands.ts"
import { systemTerminal, type Terminal } from "./terminal.ts"

const EXIT_FAILED = 1
const EXIT_MISUSED = 2

const EXAMPLES = `
Examples:
  leapgate serve                          serve with ./config.yaml, or with no config at all
  leapgate serve --port 9000              on another port
  leapgate config check                   every fault of the config, with line and column
  leapgate config schema > schema.json    a JSON Schema, so that editors complete the config
  leapgate plugin list                    which plugins load, and why others do not
  leapgate plugin new hello --type auth   a working plugin and its test
  leapgate doctor                         what may be wrong with this machine and this config`

const LOCK_EXAMPLES = `
Examples:
  leapgate plugin lock              accept all plugins as they are now
  leapgate plugin lock watermark    accept this one only
  leapgate plugin lock --check      for a pipeline: is everything what was accepted?`

const INSTALL_EXAMPLES = `
Examples:
  leapgate plugin install ./watermark.ts             copy a file, once it is known to load
  leapgate plugin install ../my-plugin --force       copy a folder over the one that is there
  leapgate plugin install leapgate-plugin-x@1.2.3    a package, into the directory's node_modules`

const REMOVE_EXAMPLES = `
Examples:
  leapgate plugin remove watermark`

/** @returns the exit code: 0 done, 1 failed, 2 misused. */
export async function run(args: readonly string[], terminal: Terminal = systemTerminal()): Promise<number> {
  let exitCode = 0
  const program = commandLine(terminal, (code) => {
    exitCode = code
  })
  try {
    await program.parseAsync(args.length === 0 ? ["--help"] : [...args], { from: "user" })
    return exitCode
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : EXIT_MISUSED
    terminal.err(describe(thrown))
    return EXIT_FAILED
  }
}

function describe(thrown: unknown): string {
  if (thrown instanceof GatewayError) return `error: ${thrown.message}\ncode: ${thrown.code}`
  if (isFileError(thrown)) {
    const fix = FILE_FIXES[thrown.code]
    return `error: ${thrown.message}${fix === undefined ? "" : `; ${fix}`}\ncode: ${thrown.code}`
  }
  return `error: ${thrown instanceof Error ? (thrown.stack ?? messageOf(thrown)) : messageOf(thrown)}`
}

/** What the operating system says about a file is for the user: where in this program it was told helps nobody. */
function isFileError(thrown: unknown): thrown is Error & { readonly code: string } {
  if (!(thrown instanceof Error) || !("code" in thrown && "path" in thrown)) return false
  return typeof thrown.code === "string" && /^E[A-Z]+$/.test(thrown.code)
}

const NOT_YOURS = "run this as a user who may write there"
const FILE_FIXES: Readonly<Record<string, string>> = {
  EACCES: NOT_YOURS,
  EPERM: NOT_YOURS,
  EROFS: "this file system is read-only",
  ENOSPC: "make room on this disk",
}

function commandLine(terminal: Terminal, exitWith: (code: number) => void): Command {
  const program = new Command("leapgate")
    .description("An LLM API gateway with a live TypeScript plugin system")
    .version(packageJson.version, "-v, --version")
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    })

  withConfig(program.command("serve"))
    .description("start the gateway")
    .option("--host <host>", "address to listen on; wins over the config")
    .option("--port <port>", "port to listen on; wins over the config", parsePort)
    .option("--no-supervisor", "serve in this process; nothing restarts it after a crash")
    .action(async (options) => {
      const { serve } = await import("./serve.ts")
      exitWith(await serve(options, terminal))
    })

  const config = program.command("config").description("check, print or describe the config")
  withConfig(config.command("check"))
    .description("report every fault")
    .action(async (options) => {
      const { checkConfig } = await import("./config-check.ts")
      exitWith(checkConfig(options, terminal))
    })
  withConfig(config.command("print"))
    .description("print the config that is in effect, defaults included, without secrets")
    .action(async (options) => {
      const { printConfig } = await import("./config-print.ts")
      exitWith(printConfig(options, terminal))
    })
  withConfig(config.command("schema"))
    .description("print the JSON Schema of the config and of the plugins' own parts")
    .action(async (options) => {
      const { printSchema } = await import("./config-schema.ts")
      exitWith(await printSchema(options, terminal))
    })

  const plugin = program.command("plugin").description("look at the plugins, and write your own")
  withConfig(plugin.command("list"))
    .description("list the plugins of the config's directory and the bundled ones")
    .option("--json", "as JSON")
    .action(async (options) => {
      const { showPlugins } = await import("./plugin-list.ts")
      exitWith(await showPlugins(options, terminal))
    })
  addAuthorCommands(plugin, { terminal, withConfig, exitWith })

  withConfig(plugin.command("lock"))
    .description("write what the plugins are made of to plugins.lock, or compare them with it")
    .argument("[name...]", "only these plugins; without one, all of the directory")
    .option("--check", "write nothing; exit code 1 where something is not as the lock says")
    .addHelpText("after", LOCK_EXAMPLES)
    .action(async (names, options) => {
      const { lockPlugins } = await import("./plugin-lock.ts")
      exitWith(await lockPlugins(names, options, terminal))
    })
  withConfig(plugin.command("install"))
    .description("take in a plugin: a file, a folder, or a package with its dependencies")
    .argument("<path|package>", "a file or folder, or a package such as leapgate-plugin-x@1.2.3")
    .option("--force", "replace a file or folder of the same name")
    .addHelpText("after", INSTALL_EXAMPLES)
    .action(async (what, options) => {
      const { installPlugin } = await import("./plugin-install.ts")
      exitWith(await installPlugin(what, options, terminal))
    })
  withConfig(plugin.command("remove"))
    .description("delete a plugin's file, folder or package; asks nothing")
    .argument("<name>", "the plugin's name")
    .addHelpText("after", REMOVE_EXAMPLES)
    .action(async (name, options) => {
      const { removePlugin } = await import("./plugin-remove.ts")
      exitWith(await removePlugin(name, options, terminal))
    })

  withConfig(program.command("doctor"))
    .description("look for what may be wrong; exit code 1 if something is")
    .action(async (options) => {
      const { examine } = await import("./doctor.ts")
      exitWith(await examine(options, terminal))
    })
  return program
}

/** What every command takes. */
export interface ConfigOption {
  readonly config?: string
}

const withConfig = (command: Command): Command =>
  command.option("--config <file>", "the config file (default: ./config.yaml, if there is one)")

function parsePort(text: string): number {
  const port = Number(text)
  if (/^\d+$/.test(text) && port <= 65_535) return port
  throw new InvalidArgumentError("It must be a number from 0 to 65535.")
}
