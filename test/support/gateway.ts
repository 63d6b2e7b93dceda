/**
 * A real gateway process with its own directory. `LEAPGATE_E2E=binary` runs the built executable instead of
 * the source, from outside the repository.
 */
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { stringify } from "yaml"
import { endProcesses, processTree } from "./process.ts"
import { waitFor, within } from "./wait.ts"

export interface GatewayOptions {
  /** An object, or YAML as text; null for none at all. A port is picked unless it names one. */
  readonly config?: Readonly<Record<string, unknown>> | string | null
  /** Files to put into `plugins/` before the start. */
  readonly plugins?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  readonly flags?: readonly string[]
}

export interface RunningGateway extends AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string
  /** Of the main listener; the tests of `admin.listen` know their own port. */
  readonly adminUrl: string
  readonly port: number
  readonly pid: number
  /** The process that serves: the supervisor's child, or the one process there is. */
  servingPid(): number
  /** Holds `config.yaml` and `plugins/`. */
  readonly directory: string
  /** All that it wrote, standard output and error. */
  logs(): string
  /** Its exit code. */
  readonly exited: Promise<number>
  /** SIGTERM, and no waiting. */
  terminate(): void
  /** Ends it and everything it started, and removes its directory. */
  stop(): Promise<void>
  writePlugin(fileName: string, source: string): Promise<void>
  deletePlugin(fileName: string): Promise<void>
}

const REPOSITORY = resolve(import.meta.dir, "../..")
const READY = /^LeapGate \S+ is ready on (http:\/\/[\d.]+:(\d+))\s*$/m

export async function startGateway(options: GatewayOptions = {}): Promise<RunningGateway> {
  const directory = await mkdtemp(join(tmpdir(), "leapgate-e2e-"))
  const pluginFile = (fileName: string) => join(directory, "plugins", fileName)
  await mkdir(join(directory, "plugins"))
  for (const [fileName, source] of Object.entries(options.plugins ?? {})) {
    await writeFile(pluginFile(fileName), source)
  }
  const configFile = join(directory, "config.yaml")
  const { config = {} } = options
  if (config !== null) await writeFile(configFile, configText(config))
  const configFlags = config === null ? ["--port", "0"] : ["--config", configFile]

  let written = ""
  const child = Bun.spawn([...leapgate(), "serve", ...configFlags, ...(options.flags ?? [])], {
    cwd: directory,
    env: { PATH: process.env.PATH ?? "", HOME: directory, ...options.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  let pidsAtStart: readonly number[] = []
  void collect(child.stdout)
  void collect(child.stderr)

  try {
    const ready = await waitFor("the gateway to be ready", () => {
      if (child.exitCode !== null) throw new Error(`the gateway ended with ${child.exitCode}`)
      return READY.exec(written) ?? undefined
    })
    pidsAtStart = processTree(child.pid)
    const url = String(ready[1])
    return {
      url,
      adminUrl: `${url}/admin`,
      port: Number(ready[2]),
      pid: child.pid,
      servingPid: () => processTree(child.pid).at(-1) ?? child.pid,
      directory,
      logs: () => written,
      exited: child.exited,
      terminate: () => child.kill("SIGTERM"),
      stop,
      writePlugin: (fileName, source) => writeFile(pluginFile(fileName), source),
      deletePlugin: (fileName) => rm(pluginFile(fileName)),
      [Symbol.asyncDispose]: stop,
    }
  } catch (thrown) {
    await stop()
    throw new Error(`${String(thrown)}; it wrote:\n${written}`, { cause: thrown })
  }

  async function collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    for await (const bytes of stream) written += decoder.decode(bytes, { stream: true })
  }

  async function stop(): Promise<void> {
    await endProcesses([child.pid, ...pidsAtStart], 3_000)
    await within("the gateway to end", child.exited)
    await rm(directory, { recursive: true, force: true })
  }
}

/** The command line as a command: from source, or the built executable. */
export function leapgate(): string[] {
  if (process.env.LEAPGATE_E2E !== "binary") return [process.execPath, join(REPOSITORY, "src/main.ts")]
  const binary = join(REPOSITORY, "dist/leapgate")
  if (!existsSync(binary)) throw new Error("LEAPGATE_E2E=binary needs dist/leapgate; build it first")
  return [binary]
}

function configText(config: Readonly<Record<string, unknown>> | string): string {
  if (typeof config === "string") return config
  const server = { host: "127.0.0.1", port: 0, ...(config.server as Record<string, unknown> | undefined) }
  return stringify({ ...config, server })
}
