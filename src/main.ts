#!/usr/bin/env bun
import { needsSupervisor, ownCommand, supervise } from "./cli/supervisor.ts"

const args = process.argv.slice(2)

if (needsSupervisor(args, process.env)) {
  process.exit(await supervise({ command: ownCommand(), env: process.env }))
}
// Imported only now: the supervisor has to be quick.
const { run } = await import("./cli/program.ts")
const { exit, reserveExit } = await import("./cli/exit.ts")
reserveExit()
exit(await run(args))
