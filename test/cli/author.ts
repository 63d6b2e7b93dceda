/** A folder of somebody who writes plugins and has nothing else. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { sdkArchive } from "../../src/cli/sdk-archive.ts"
import { temporaryDirectory } from "../plugin/fixtures.ts"
import { type Outcome, runCommand } from "../support/terminal.ts"

// From source the SDK is made when it is first asked for; no test's time limit should pay for that.
await sdkArchive()

export interface Author {
  readonly directory: string
  plugin(...args: string[]): Promise<Outcome>
  run(...args: string[]): Promise<Outcome>
  /** @param path below the folder */
  write(path: string, text: string): string
  read(path: string): string
  has(path: string): boolean
}

export function newAuthor(): Author {
  const directory = temporaryDirectory()
  const run = (...args: string[]) => runCommand(args, { cwd: directory })
  return {
    directory,
    run,
    plugin: (...args) => run("plugin", ...args),
    write(path, text) {
      const file = join(directory, path)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, text)
      return file
    },
    read: (path) => readFileSync(join(directory, path), "utf8"),
    has: (path) => existsSync(join(directory, path)),
  }
}
