/**
 * A cached reply as bytes: one line of JSON about it, then the body as the provider sent it. Caches may be shared by
 * several versions of the gateway, and may damage what they keep: what does not fit is no entry.
 */
export interface CacheEntry {
  readonly kind: "plain" | "stream"
  /** Who answered, and the model as that provider names it. */
  readonly provider: string
  readonly model: string
  /** Milliseconds since the epoch. */
  readonly storedAtMs: number
  readonly body: Uint8Array<ArrayBuffer>
}

/** Larger entries are not kept. */
export const MAX_ENTRY_BYTES = 8 * 2 ** 20

export function encodeEntry({ body, ...about }: CacheEntry): Uint8Array<ArrayBuffer> {
  const head = { version: VERSION, ...about, digest: digestOf(body) }
  return new Uint8Array(Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body]))
}

/** Undefined for anything but a whole entry of this version. */
export function decodeEntry(bytes: Uint8Array): CacheEntry | undefined {
  const headEnd = bytes.subarray(0, MAX_HEAD_BYTES).indexOf(LINE_FEED)
  if (headEnd < 0) return undefined
  const head = parse(bytes.subarray(0, headEnd))
  if (!isHead(head)) return undefined
  const body = inOwnMemory(bytes.subarray(headEnd + 1))
  if (head.digest !== digestOf(body)) return undefined
  const { kind, provider, model, storedAtMs } = head
  return { kind, provider, model, storedAtMs, body }
}

const VERSION = 1
const LINE_FEED = 0x0a
/** Room for a model's name of 256 characters, each of them escaped. */
const MAX_HEAD_BYTES = 8 * 2 ** 10

interface Head extends Omit<CacheEntry, "body"> {
  readonly digest: string
}

function isHead(value: unknown): value is Head {
  if (typeof value !== "object" || value === null) return false
  const { version, kind, provider, model, storedAtMs } = value as Readonly<Record<string, unknown>>
  return (
    version === VERSION &&
    (kind === "plain" || kind === "stream") &&
    typeof provider === "string" &&
    typeof model === "string" &&
    Number.isFinite(storedAtMs)
  )
}

/** Tells damage, not forgery. */
function digestOf(body: Uint8Array<ArrayBuffer>): string {
  return Bun.hash.xxHash64(body).toString(16)
}

/** Memory that is shared with other threads could change while it is being sent. */
function inOwnMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes)
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}
