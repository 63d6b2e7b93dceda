/**
 * The end of this process. Plugins share `process` with the gateway: from `reserveExit` on, one that calls
 * `process.exit` does not end the gateway for all, but gets an error where it calls it.
 */
const end = process.exit.bind(process)

export function exit(code: number): never {
  return end(code)
}

/** Before any plugin is read. */
export function reserveExit(): void {
  process.exit = (code) => {
    throw new Error(`process.exit(${code ?? ""}) would end the gateway for all, and does nothing`)
  }
}
