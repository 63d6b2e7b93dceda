import { existsSync, readdirSync, readFileSync } from "node:fs"

/** The process and everything below it, parents first. */
export function processTree(pid: number): number[] {
  if (!isAlive(pid)) return []
  return [pid, ...childrenOf(pid).flatMap(processTree)]
}

/** Running, or at least not yet a zombie. */
export function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && statFields(pid)[0] !== "Z"
}

export function residentBytes(pid: number): number {
  return statusKilobytes(pid, "VmRSS") * 1024
}

export function peakResidentBytes(pid: number): number {
  return statusKilobytes(pid, "VmHWM") * 1024
}

/** User and system time used so far. The kernel counts in ticks of 10 ms. */
export function cpuMicroseconds(pid: number): number {
  const fields = statFields(pid)
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

/**
 * Ends these processes and everything below them: politely by the first one, then not. Naming a child beside
 * its parent finds it even when the parent is gone.
 */
export async function endProcesses(pids: readonly number[], graceMs: number): Promise<void> {
  const all = [...new Set(pids.flatMap(processTree))]
  signal(all.slice(0, 1), "SIGTERM")
  const deadline = performance.now() + graceMs
  while (all.some(isAlive) && performance.now() < deadline) await Bun.sleep(10)
  signal(all, "SIGKILL")
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids.filter(isAlive)) {
    try {
      process.kill(pid, name)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "ESRCH") throw thrown
    }
  }
}

function childrenOf(pid: number): number[] {
  return threadsOf(pid).flatMap((thread) =>
    readProc(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean).map(Number),
  )
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** The fields of /proc/pid/stat from the state on; the name before it may hold spaces and brackets. */
function statFields(pid: number): string[] {
  const text = readProc(`/proc/${pid}/stat`)
  return text === "" ? ["Z"] : text.slice(text.lastIndexOf(")") + 2).split(" ")
}

function statusKilobytes(pid: number, field: string): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(readProc(`/proc/${pid}/status`))
  return Number(line?.[1] ?? 0)
}

/** A process may end between two looks: its files then read as empty. */
function readProc(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}
