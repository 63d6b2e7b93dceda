/** Turns among processes that change the same file. */
import { closeSync, openSync, rmSync, statSync } from "node:fs"

const PAUSE_MS = 5
/** Nobody's turn takes this long: who had it was killed. */
const LONGEST_TURN_MS = 2000

/**
 * Runs work on a file, reading and writing it, while no other process does. The work must not wait for anything.
 * A file `<path>.lock` says that it is somebody's turn.
 */
export async function inFileTurn<T>(path: string, work: () => T): Promise<T> {
  const lock = `${path}.lock`
  while (!take(lock)) {
    if (isAbandoned(lock)) rmSync(lock, { force: true })
    await Bun.sleep(PAUSE_MS)
  }
  try {
    return work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function take(lock: string): boolean {
  try {
    closeSync(openSync(lock, "wx"))
    return true
  } catch (thrown) {
    // Who may not write here is told so when it writes the file itself.
    return (thrown as NodeJS.ErrnoException).code !== "EEXIST"
  }
}

function isAbandoned(lock: string): boolean {
  const taken = statSync(lock, { throwIfNoEntry: false })
  return taken !== undefined && Date.now() - taken.mtimeMs > LONGEST_TURN_MS
}
