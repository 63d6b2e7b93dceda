/**
 * How long does `leapgate serve` take from its start to its ready line, and what does it hold when it is idle? The
 * programs take turns, so that a busy neighbour hits all of them; medians and the middle half are shown.
 *
 *   bun bench/start.ts [--rounds 15] [program …]        without one: dist/leapgate, which `bun run build` makes
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { endProcesses, processTree, residentBytes } from "../test/support/process.ts"

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "15" } },
})
const programs = positionals.length > 0 ? positionals : [resolve(import.meta.dir, "../dist/leapgate")]
const MODES = { alone: ["--no-supervisor"], supervised: [] } as const
const IDLE_MS = 500

const directory = await mkdtemp(join(tmpdir(), "leapgate-bench-"))
try {
  const config = join(directory, "config.yaml")
  const provider = { name: "bench", base_url: "http://127.0.0.1:9/v1", models: ["bench"] }
  await writeFile(config, JSON.stringify({ server: { host: "127.0.0.1", port: 0 }, providers: [provider] }))
  for (const [mode, args] of Object.entries(MODES)) {
    const starts = new Map(programs.map((program) => [program, [] as Start[]]))
    for (let round = 0; round <= Number(values.rounds); round++) {
      for (const [program, samples] of starts) {
        const sample = await start([resolve(program), "serve", "--config", config, ...args])
        // The first one reads the program from the disk.
        if (round > 0) samples.push(sample)
      }
    }
    console.table(
      [...starts].map(([program, samples]) => ({
        program,
        mode,
        "ready after ms": spread(samples.map(({ readyMs }) => readyMs)),
        "idle MiB": spread(samples.map(({ idleBytes }) => idleBytes / 2 ** 20)),
      })),
    )
  }
} finally {
  await rm(directory, { recursive: true, force: true })
}

interface Start {
  readonly readyMs: number
  /** Of all its processes. */
  readonly idleBytes: number
}

async function start(command: readonly string[]): Promise<Start> {
  const startMs = performance.now()
  const child = Bun.spawn([...command], { cwd: directory, stdio: ["ignore", "pipe", "ignore"] })
  try {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      if (text.includes("is ready on")) break
    }
    const readyMs = performance.now() - startMs
    await Bun.sleep(IDLE_MS)
    return { readyMs, idleBytes: processTree(child.pid).reduce((sum, pid) => sum + residentBytes(pid), 0) }
  } finally {
    await endProcesses([child.pid], 2000)
  }
}

function spread(numbers: readonly number[]): string {
  const sorted = numbers.toSorted((a, b) => a - b)
  const at = (share: number) => (sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN).toFixed(0)
  return `${at(0.5)} (${at(0.25)}-${at(0.75)})`
}
