/** W3C Trace Context, level 1. Source: https://www.w3.org/TR/trace-context/#traceparent-header */
export interface TraceParent {
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** 16 hexadecimal digits: the caller's span. */
  readonly parentId: string
  readonly isSampled: boolean
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** The header's content, or undefined where it is absent or anything but well-formed. */
export function parseTraceparent(header: string | null | undefined): TraceParent | undefined {
  if (header === null || header === undefined || header.length > 512) return undefined
  const match = TRACEPARENT.exec(header)
  if (match === null) return undefined
  const [, version, traceId = "", parentId = "", flags = "", rest] = match
  if (version === "ff" || (version === "00" && rest !== undefined)) return undefined
  if (isZero(traceId) || isZero(parentId)) return undefined
  return { traceId, parentId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

/** The trace a request belongs to: the caller's, or a new one whose id is made when somebody asks for it. */
export class TraceContext {
  readonly parent: TraceParent | undefined
  #traceId: string | undefined

  constructor(header: string | null | undefined) {
    this.parent = parseTraceparent(header)
    this.#traceId = this.parent?.traceId
  }

  get traceId(): string {
    this.#traceId ??= createTraceId()
    return this.#traceId
  }
}

/** 32 random hexadecimal digits. */
export function createTraceId(): string {
  return crypto.getRandomValues(new Uint8Array(16)).toHex()
}

function isZero(id: string): boolean {
  return /^0+$/.test(id)
}
