#!/usr/bin/env bun
import { needsSupervisor, ownCommand, supervise } from "./cli/supervisor.ts"

const args = process.argv.slice(2)

if (needsSupervisor(args, process.env)) {
  process.exit(await supervise({ command: ownCommand(), env: process.env }))
}
// Imported only now: the supervisor has to be quick.
const { run } = await import("./cli/program.ts")
const { unplannedExit } = await import("./cli/unplanned-exit.ts")
const onExit = unplannedExit(args)
process.on("exit", onExit)
const code = await run(args)
process.off("exit", onExit)
process.exit(code)
