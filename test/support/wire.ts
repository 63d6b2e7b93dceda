/** HTTP replies as bytes. */
export const LAST_CHUNK = "0\r\n\r\n"

export function streamHead(headers: Readonly<Record<string, string>> = {}): string {
  return `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n${headerLines(headers)}\r\n`
}

export function json(status: number, body: string, headers: Readonly<Record<string, string>> = {}): string {
  return sized(status, body, { "content-type": "application/json", ...headers })
}

export function sized(status: number, body: string, headers: Readonly<Record<string, string>>): string {
  return `HTTP/1.1 ${status} Status\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${headerLines(headers)}\r\n${body}`
}

function headerLines(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("")
}

export function chunked(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
}

export function chunkedBytes(bytes: ArrayLike<number>): Uint8Array {
  return Buffer.concat([
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    Uint8Array.from(bytes),
    Buffer.from("\r\n"),
  ])
}
