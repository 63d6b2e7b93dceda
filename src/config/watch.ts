/** Tells when the content of the config file has changed. */
import { readFileSync } from "node:fs"
import { basename, dirname, resolve } from "node:path"
import { watch } from "chokidar"

const DEBOUNCE_MS = 100
/** Network and container mounts may report nothing at all. */
const POLL_MS = 10_000
/** What Kubernetes swaps when a mounted ConfigMap changes; the file itself is a link through it. */
const CONFIG_MAP_LINK = "..data"

interface WatchOptions {
  readonly path: string
  /** What was read from it at last: a change since then counts. */
  readonly text: string
  onChange(): void
}

/** Watches the folder, so that a file which is renamed over, removed and made again, or not there yet is followed. */
export function watchConfig({ path, text, onChange }: WatchOptions): { close(): void } {
  const file = resolve(path)
  const directory = dirname(file)
  const followed = new Set([basename(file), CONFIG_MAP_LINK])
  let known = hashOf(text)
  let debounce: Timer | undefined

  const watcher = watch(directory, {
    depth: 0,
    ignoreInitial: true,
    ignored: (path) => resolve(path) !== directory && !followed.has(basename(path)),
  })
  watcher.on("all", () => {
    clearTimeout(debounce)
    debounce = setTimeout(compare, DEBOUNCE_MS)
  })
  // What changed before it could see.
  watcher.on("ready", compare)
  // The poll goes on where the system cannot watch.
  watcher.on("error", () => {})
  const poll = setInterval(compare, POLL_MS)

  return {
    close() {
      clearTimeout(debounce)
      clearInterval(poll)
      void watcher.close().catch(() => {})
    },
  }

  function compare(): void {
    const current = contentHash(file)
    if (current === undefined || current === known) return
    known = current
    onChange()
  }
}

/** Undefined for a file that is not there, or empty: an editor is in the middle of saving it. */
function contentHash(file: string): string | undefined {
  try {
    const content = readFileSync(file)
    return content.length === 0 ? undefined : hashOf(content)
  } catch {
    return undefined
  }
}

const hashOf = (content: string | Uint8Array): string => Bun.SHA256.hash(content, "hex")
