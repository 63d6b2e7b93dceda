/** What a client asks of caches. Source: https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1 */
export interface CacheControl {
  readonly noStore: boolean
  readonly noCache: boolean
  /** Entries may be this old, in seconds; infinity where the client does not mind. */
  readonly maxAgeSeconds: number
}

const INDIFFERENT: CacheControl = {
  noStore: false,
  noCache: false,
  maxAgeSeconds: Number.POSITIVE_INFINITY,
}

/** Directives that are unknown are passed over. Where `max-age` is no number of seconds, no entry is young enough. */
export function readCacheControl(header: string | null): CacheControl {
  if (header === null) return INDIFFERENT
  const directives = header.split(",").map((directive) => directive.trim().toLowerCase())
  const ages = directives.flatMap((directive) => {
    const [name, value = ""] = directive.split("=", 2)
    if (name?.trim() !== "max-age") return []
    const digits = /^"?(\d+)"?$/.exec(value.trim())?.[1]
    return digits === undefined ? -1 : Number(digits)
  })
  return {
    noStore: directives.includes("no-store"),
    noCache: directives.includes("no-cache"),
    maxAgeSeconds: Math.min(Number.POSITIVE_INFINITY, ...ages),
  }
}
