import { randomUUID } from "node:crypto"
import {
  closeSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs"
import { basename, dirname, join } from "node:path"

interface ReplaceOptions {
  /** Who may read a file that was not there before, less what the umask forbids. One that was keeps its mode. */
  readonly newMode?: number
}

/** Puts a text in the place of a file, at once: whoever reads it finds the old one or the new one, whole. */
export function replaceFile(path: string, text: string, { newMode = 0o666 }: ReplaceOptions = {}): void {
  // A link stays a link: what it names is replaced.
  const known = existing(path)
  const file = known ?? path
  const draft = join(dirname(file), `.${basename(file)}-${randomUUID()}`)
  try {
    const descriptor = openSync(draft, "wx", known === undefined ? newMode : statSync(known).mode & 0o777)
    try {
      writeSync(descriptor, text)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(draft, file)
  } catch (thrown) {
    rmSync(draft, { force: true })
    throw thrown
  }
}

function existing(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw thrown
  }
}
