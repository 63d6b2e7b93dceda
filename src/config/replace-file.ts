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

/** Puts a text in the place of a file, at once: whoever reads it finds the old one or the new one, whole. */
export function replaceFile(path: string, text: string): void {
  // A link stays a link: what it names is replaced.
  const file = existing(path) ?? path
  const temporary = `${file}.${process.pid}.tmp`
  try {
    const descriptor = openSync(
      temporary,
      "wx",
      existing(path) === undefined ? 0o600 : statSync(file).mode & 0o777,
    )
    try {
      writeSync(descriptor, text)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(temporary, file)
  } catch (thrown) {
    rmSync(temporary, { force: true })
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
