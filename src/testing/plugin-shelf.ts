/**
 * Hands definitions that a test holds in memory to a real plugin directory. Each lies there as a file that takes it
 * from the shelf, so that the gateway loads, reloads and disposes it like any other plugin.
 */
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"

/** Module graphs share the global object and nothing else of this process. */
const SHELF = Symbol.for("leapgate.testing.shelf")

interface Named {
  readonly name: string
}

export class PluginShelf {
  readonly #directory: string
  readonly #keys: string[] = []

  /** @param directory the plugin directory */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** @returns the file of the definition; what lay there under its name before is replaced */
  async put(definition: Named): Promise<string> {
    const key = crypto.randomUUID()
    const name = String(definition?.name).replace(/[^\w-]/g, "-")
    const file = join(this.#directory, `${name}.mjs`)
    await mkdir(this.#directory, { recursive: true })
    sharedShelf().set(key, definition)
    this.#keys.push(key)
    await writeFile(file, `export default globalThis[Symbol.for("${SHELF.description}")].get("${key}")\n`)
    return file
  }

  clear(): void {
    for (const key of this.#keys.splice(0)) sharedShelf().delete(key)
  }
}

function sharedShelf(): Map<string, unknown> {
  const shared = globalThis as { [SHELF]?: Map<string, unknown> }
  shared[SHELF] ??= new Map()
  return shared[SHELF]
}
