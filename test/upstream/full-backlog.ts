import { dlopen, ptr } from "bun:ffi"
import { connect, type Socket } from "node:net"

export interface FullBacklog {
  readonly port: number
  stop(): void
}

/**
 * A port of 127.0.0.1 on which a connection is never made nor refused: the queue of a socket that nobody accepts
 * from is full, so Linux drops every further SYN, as a firewall does.
 */
export async function listenWithFullBacklog(): Promise<FullBacklog> {
  const libc = dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    listen: { args: ["i32", "i32"], returns: "i32" },
    getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
  })
  const { symbols } = libc
  const descriptor = symbols.socket(AF_INET, SOCK_STREAM, 0)
  // struct sockaddr_in: family, port, address.
  const address = Uint8Array.from([AF_INET, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
  const length = Uint32Array.of(address.length)
  if (symbols.bind(descriptor, ptr(address), address.length) !== 0) throw new Error("cannot bind")
  if (symbols.listen(descriptor, 0) !== 0) throw new Error("cannot listen")
  symbols.getsockname(descriptor, ptr(address), ptr(length))
  const port = new DataView(address.buffer).getUint16(2)
  const filler = await connected(port)
  return {
    port,
    stop() {
      filler.destroy()
      symbols.close(descriptor)
      libc.close()
    },
  }
}

const AF_INET = 2
const SOCK_STREAM = 1

function connected(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket))
    socket.on("error", reject)
  })
}
