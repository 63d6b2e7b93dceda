/** Many streams at once over raw sockets: fetch would let only 256 through. */
import { within } from "./wait.ts"

export interface LoadedStream {
  readonly firstTokenMs: number
  readonly text: string
}

export interface StreamLoad {
  /** Settles when every stream has its first token. */
  readonly allStarted: Promise<void>
  readonly allEnded: Promise<readonly LoadedStream[]>
}

interface LoadOptions {
  readonly port: number
  readonly model: string
  readonly count: number
  /** The streams begin one after another over this time, so that a burst of connections is not what is measured. */
  readonly rampMs: number
}

export function loadStreams({ port, model, count, rampMs }: LoadOptions): StreamLoad {
  const body = JSON.stringify({ model, stream: true, messages: [{ role: "user", content: String(count) }] })
  const request = `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  const started: Promise<void>[] = []
  const ended: Promise<LoadedStream>[] = []
  for (let index = 0; index < count; index++) {
    const stream = openStream(port, request, (index * rampMs) / count)
    started.push(stream.started)
    ended.push(stream.ended)
  }
  return {
    allStarted: within("every stream to start", Promise.all(started), 30_000).then(() => {}),
    allEnded: within("every stream to end", Promise.all(ended), 30_000),
  }
}

function openStream(port: number, request: string, delayMs: number) {
  const started = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<LoadedStream>()
  let sentAtMs = 0
  let firstTokenMs = 0
  let received = ""
  setTimeout(() => {
    Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        open(socket) {
          sentAtMs = performance.now()
          socket.write(request)
        },
        data(_, bytes) {
          received += bytes.toString("latin1")
          if (firstTokenMs > 0 || !received.includes('"content":"t0 "')) return
          firstTokenMs = performance.now() - sentAtMs
          started.resolve()
        },
        close() {
          started.resolve()
          ended.resolve({ firstTokenMs, text: textOf(received) })
        },
        error() {},
      },
    }).catch((thrown: unknown) => {
      started.resolve()
      ended.reject(thrown)
    })
  }, delayMs)
  return { started: started.promise, ended: ended.promise }
}

/** The text, and what ended it: `[DONE]`, or nothing. */
function textOf(received: string): string {
  const texts = [...received.matchAll(/"content":"([^"]+)"/g)].map((match) => match[1])
  return texts.join("") + (received.includes("data: [DONE]") ? "[DONE]" : "")
}
