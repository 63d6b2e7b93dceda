/**
 * An upstream on raw TCP, so that it can break every rule of HTTP. What it does with a request is a script,
 * chosen by the request's model; `hostile-faults.ts` has a table of them.
 */
import type { Socket, TCPSocketListener } from "bun"

/** A promise is waited for; what it gives is not looked at. */
export type Script = (exchange: Exchange) => unknown

/** One request on its way, as a script sees it. */
export interface Exchange {
  readonly request: RecordedRequest
  /** Sends bytes. Resolves when the kernel has taken them: true, or false when the client has gone. */
  write(data: string | Uint8Array): Promise<boolean>
  /** Ends the sending side: FIN. */
  finish(): void
  /** Cuts the connection: RST. */
  reset(): void
  /** Waits for the test to call `proceed` with this request's model. */
  go(): Promise<void>
  /** Settles when the client has closed the connection. */
  readonly gone: Promise<void>
}

interface RecordedRequest {
  readonly method: string
  readonly path: string
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
  readonly model: string
  /** Bytes of the reply that the kernel has taken. */
  sentBytes: number
  /** The client closed the connection before the script was through. */
  abortedAtMs: number | undefined
}

export interface HostileUpstream {
  /** For `base_url`. */
  readonly url: string
  readonly port: number
  /** Every request so far, or those for one model. */
  requests(model?: string): readonly RecordedRequest[]
  /** What requests for this model get: the scripts in order, the last one for ever. */
  script(model: string, ...scripts: readonly [Script, ...Script[]]): void
  /** Lets every exchange of this model that waits in `go()`, or will, run on. */
  proceed(model: string): void
  stop(): void
}

interface Connection {
  received: Buffer
  running: boolean
  drained: PromiseWithResolvers<void>
  readonly closed: PromiseWithResolvers<void>
  isClosed: boolean
  endedByScript: boolean
}

export function startHostileUpstream(): HostileUpstream {
  const recorded: RecordedRequest[] = []
  const scripts = new Map<string, Script[]>()
  const gates = new Map<string, PromiseWithResolvers<void>>()

  const listener: TCPSocketListener<Connection> = Bun.listen<Connection>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = newConnection()
      },
      data(socket, bytes) {
        socket.data.received = Buffer.concat([socket.data.received, bytes])
        void serve(socket)
      },
      drain(socket) {
        socket.data.drained.resolve()
      },
      close(socket) {
        socket.data.isClosed = true
        socket.data.drained.resolve()
        socket.data.closed.resolve()
      },
      error() {},
    },
  })

  return {
    url: `http://127.0.0.1:${listener.port}/v1`,
    port: listener.port,
    requests: (model) => (model === undefined ? recorded : recorded.filter((each) => each.model === model)),
    script(model, ...queue) {
      scripts.set(model, [...queue])
      gates.delete(model)
    },
    proceed: (model) => gate(model).resolve(),
    stop: () => listener.stop(true),
  }

  async function serve(socket: Socket<Connection>): Promise<void> {
    const connection = socket.data
    if (connection.running) return
    const parsed = parseRequest(connection.received)
    if (parsed === undefined) return
    connection.received = connection.received.subarray(parsed.sizeBytes)
    connection.running = true
    recorded.push(parsed.request)
    const watch = connection.closed.promise.then(() => {
      if (connection.running && !connection.endedByScript) parsed.request.abortedAtMs = performance.now()
    })
    await nextScript(parsed.request.model)(exchangeOn(socket, parsed.request))
    connection.running = false
    if (connection.isClosed) return await watch
    await serve(socket)
  }

  function nextScript(model: string): Script {
    const queue = scripts.get(model)
    if (queue === undefined) return noScript
    return (queue.length > 1 ? queue.shift() : queue[0]) ?? noScript
  }

  function exchangeOn(socket: Socket<Connection>, request: RecordedRequest): Exchange {
    return {
      request,
      write: (data) => writeAll(socket, request, data),
      finish() {
        socket.data.endedByScript = true
        socket.end()
      },
      reset() {
        socket.data.endedByScript = true
        socket.terminate()
      },
      go: () => gate(request.model).promise,
      gone: socket.data.closed.promise,
    }
  }

  function gate(model: string): PromiseWithResolvers<void> {
    const known = gates.get(model)
    if (known !== undefined) return known
    const made = Promise.withResolvers<void>()
    gates.set(model, made)
    return made
  }
}

async function noScript({ request, write }: Exchange): Promise<void> {
  const body = JSON.stringify({ error: { message: `no script for "${request.model}"`, type: "test" } })
  await write(`HTTP/1.1 418 No Script\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
}

async function writeAll(
  socket: Socket<Connection>,
  request: RecordedRequest,
  data: string | Uint8Array,
): Promise<boolean> {
  let rest: Uint8Array = typeof data === "string" ? Buffer.from(data) : data
  while (!socket.data.isClosed) {
    const taken = Math.max(0, socket.write(rest))
    request.sentBytes += taken
    rest = rest.subarray(taken)
    if (rest.length === 0) return true
    socket.data.drained = Promise.withResolvers()
    await Promise.race([socket.data.drained.promise, socket.data.closed.promise])
  }
  return false
}

function newConnection(): Connection {
  return {
    received: Buffer.alloc(0),
    running: false,
    drained: Promise.withResolvers(),
    closed: Promise.withResolvers(),
    isClosed: false,
    endedByScript: false,
  }
}

/** The first whole request in `bytes`; undefined while it is incomplete. */
function parseRequest(bytes: Buffer): { request: RecordedRequest; sizeBytes: number } | undefined {
  const headEnd = bytes.indexOf("\r\n\r\n")
  if (headEnd < 0) return undefined
  const [requestLine = "", ...headerLines] = bytes.toString("latin1", 0, headEnd).split("\r\n")
  const headers = new Map(headerLines.map(splitHeader))
  const bodyStart = headEnd + 4
  const body =
    headers.get("transfer-encoding") === "chunked"
      ? parseChunkedBody(bytes, bodyStart)
      : parseSizedBody(bytes, bodyStart, Number(headers.get("content-length") ?? 0))
  if (body === undefined) return undefined
  const [method = "", path = ""] = requestLine.split(" ")
  return {
    request: {
      method,
      path,
      headers,
      body: body.text,
      model: modelOf(body.text),
      sentBytes: 0,
      abortedAtMs: undefined,
    },
    sizeBytes: body.end,
  }
}

function parseSizedBody(bytes: Buffer, start: number, size: number) {
  if (bytes.length < start + size) return undefined
  return { text: bytes.toString("utf8", start, start + size), end: start + size }
}

function parseChunkedBody(bytes: Buffer, start: number) {
  const parts: Buffer[] = []
  let at = start
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", at)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16)
    const next = lineEnd + 2 + size + 2
    if (bytes.length < next) return undefined
    if (size === 0) return { text: Buffer.concat(parts).toString("utf8"), end: next }
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = next
  }
}

function splitHeader(line: string): [string, string] {
  const colon = line.indexOf(":")
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
}

function modelOf(body: string): string {
  try {
    return String((JSON.parse(body) as { model?: unknown }).model ?? "")
  } catch {
    return ""
  }
}
