/** A bad end for a process that a plugin ends: with `process.exit(0)` it would pass for a good one. */

/** Above are the codes of signals, with which `leapgate serve` may end at once on purpose. */
const HIGHEST_CODE = 128

/** @returns what `process` tells of an end that came before the command was done. */
export function unplannedExit([command]: readonly string[]): (code: number) => void {
  return function onExit(code) {
    if (code > HIGHEST_CODE) return
    const message = `a plugin called process.exit(${code}), which ends the gateway for all; throw an error instead`
    const { stack } = new Error(message)
    const line = { level: "error", time: new Date().toISOString(), message, stack }
    console.error(command === "serve" ? JSON.stringify(line) : stack)
    if (code === 0) process.exitCode = 1
  }
}
