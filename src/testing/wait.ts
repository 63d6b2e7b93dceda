const PATIENCE_MS = 4000
const LOOK_EVERY_MS = 5

/** Polls until `probe` gives something other than undefined or false; fails with a sentence when it takes too long. */
export async function waitFor<R>(
  what: string,
  probe: () => R | undefined | false | Promise<R | undefined | false>,
): Promise<R> {
  const deadlineMs = performance.now() + PATIENCE_MS
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (performance.now() > deadlineMs) throw new Error(`waited ${PATIENCE_MS / 1000} s in vain for ${what}`)
    await Bun.sleep(LOOK_EVERY_MS)
  }
}
