/** Says which version of a plugin is meant, as plain data: alike in every process that has the same files. */
import { sha256Of } from "../source/source-print.ts"
import { setupPart } from "./instance.ts"
import { isSameCode, type Release } from "./record.ts"

export interface ReleaseKey {
  readonly version: string
  /** Hash of its sources; null where the gateway brings it. */
  readonly code: string | null
  /** Hash of what it was set up with, where only that tells it from the other version. */
  readonly settings?: string
}

/** From one version to another. */
export interface Step {
  readonly from: ReleaseKey
  readonly to: ReleaseKey
}

export function stepBetween(from: Release, to: Release): Step {
  // Different code that is set up once more gets the settings of then: they are not what tells it.
  const key = isSameCode(from, to) ? fullKey : codeKey
  return { from: key(from), to: key(to) }
}

export function isKeyOf(key: ReleaseKey, release: Release | undefined): boolean {
  if (release === undefined) return false
  const own = key.settings === undefined ? codeKey(release) : fullKey(release)
  return Bun.deepEquals(key, own)
}

function codeKey({ manifest, print }: Release): ReleaseKey {
  return { version: manifest.version, code: print?.hash ?? null }
}

function fullKey(release: Release): ReleaseKey {
  return { ...codeKey(release), settings: sha256Of(JSON.stringify(setupPart(release.settings))) }
}
