/** HTTP by hand on a socket, for requests that no HTTP client would send. */
import { within } from "./wait.ts"

export interface RawReply {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

export interface RawConnection {
  send(bytes: string | Uint8Array): void
  /** The next whole reply, or undefined when the peer closed the connection without one. */
  reply(): Promise<RawReply | undefined>
  /** Everything received and not yet taken by `reply`. */
  unread(): string
  /** Settles when the connection is closed, by whomever. */
  readonly closed: Promise<void>
  /** Reads nothing more from the socket until it is closed. */
  pause(): void
  /** Sends FIN and waits no longer. */
  close(): void
  /** Sends RST. */
  cut(): void
}

export async function openRaw(port: number): Promise<RawConnection> {
  const closed = Promise.withResolvers<void>()
  let isClosed = false
  let received = Buffer.alloc(0)
  let backlog: Uint8Array = new Uint8Array()
  let more = Promise.withResolvers<void>()

  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data(_, bytes) {
        received = Buffer.concat([received, bytes])
        wake()
      },
      drain() {
        flush()
      },
      close() {
        isClosed = true
        closed.resolve()
        wake()
      },
      error() {},
    },
  })

  return {
    send(bytes) {
      backlog = Buffer.concat([backlog, typeof bytes === "string" ? Buffer.from(bytes) : bytes])
      flush()
    },
    reply: () => within("a reply on a raw connection", nextReply()),
    unread: () => received.toString("utf8"),
    closed: closed.promise,
    pause: () => void socket.pause(),
    close: () => void socket.end(),
    cut: () => void socket.terminate(),
  }

  function flush(): void {
    if (backlog.length > 0) backlog = backlog.subarray(Math.max(0, socket.write(backlog)))
  }

  function wake(): void {
    more.resolve()
    more = Promise.withResolvers()
  }

  async function nextReply(): Promise<RawReply | undefined> {
    for (;;) {
      const parsed = parseReply(received, isClosed)
      if (parsed !== undefined) {
        received = received.subarray(parsed.sizeBytes)
        return parsed.reply
      }
      if (isClosed) return undefined
      await more.promise
    }
  }
}

/** One request, one reply. */
export async function sendRaw(port: number, bytes: string | Uint8Array): Promise<RawReply | undefined> {
  const connection = await openRaw(port)
  try {
    connection.send(bytes)
    return await connection.reply()
  } finally {
    connection.close()
  }
}

/** A request as text; a list gives the same header several times. */
export function rawRequest(
  requestLine: string,
  headers: readonly (readonly [string, string])[],
  body = "",
): string {
  const length = body === "" ? [] : [["content-length", String(Buffer.byteLength(body))] as const]
  const lines = [...headers, ...length].map(([name, value]) => `${name}: ${value}\r\n`)
  return `${requestLine} HTTP/1.1\r\n${lines.join("")}\r\n${body}`
}

function parseReply(bytes: Buffer, isClosed: boolean): { reply: RawReply; sizeBytes: number } | undefined {
  const headEnd = bytes.indexOf("\r\n\r\n")
  if (headEnd < 0) return undefined
  const [statusLine = "", ...lines] = bytes.toString("latin1", 0, headEnd).split("\r\n")
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(":")
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    }),
  )
  const end = bodyEnd(bytes, headEnd + 4, headers, isClosed)
  if (end === undefined) return undefined
  return {
    reply: {
      status: Number(statusLine.split(" ")[1]),
      headers,
      body: bytes.toString("utf8", headEnd + 4, end),
    },
    sizeBytes: end,
  }
}

function bodyEnd(
  bytes: Buffer,
  start: number,
  headers: ReadonlyMap<string, string>,
  isClosed: boolean,
): number | undefined {
  const length = headers.get("content-length")
  if (length !== undefined) return bytes.length >= start + Number(length) ? start + Number(length) : undefined
  if (headers.get("transfer-encoding") === "chunked") {
    const last = bytes.indexOf("0\r\n\r\n", start)
    return last < 0 ? undefined : last + 5
  }
  return isClosed ? bytes.length : undefined
}
