/** The serving process's end of the line to its supervisor. */
import { systemClock } from "../clock.ts"
import { IpcPeers } from "./ipc-peers.ts"
import type { FromSupervisor, ToSupervisor, Welcome } from "./messages.ts"
import { HEARTBEAT, READY, SUPERVISED } from "./supervisor.ts"

const HEARTBEAT_EVERY_MS = 1000

export interface SupervisorLink {
  /** Whether there is one: then this process is restarted, and others may serve beside it. */
  readonly isThere: boolean
  /** What the supervisor tells a new process. */
  readonly welcome: Promise<Welcome>
  readonly peers: IpcPeers
  send(message: ToSupervisor): void
  /** Tells the supervisor that requests are answered: from now on it restarts this process after a crash. */
  ready(): void
  /** Runs the handler when the supervisor is gone: nobody would pass on a signal any more. */
  onLost(handler: () => void): void
}

/** Shows the supervisor every second that the event loop turns. Without a supervisor it does nothing. */
export function linkToSupervisor(): SupervisorLink {
  // A parent that is no supervisor of ours may have opened a channel too.
  const isThere = process.env[SUPERVISED] !== undefined && process.connected === true
  // What plugins start has no supervisor.
  delete process.env[SUPERVISED]
  const welcome = Promise.withResolvers<Welcome>()
  const peers = new IpcPeers({ clock: systemClock, send })
  if (isThere) {
    process.on("message", (message: FromSupervisor) => {
      if (message.kind === "welcome") welcome.resolve(message)
      else peers.receive(message)
    })
    process.once("disconnect", () => {
      welcome.resolve(ALONE)
      peers.lost()
    })
    send({ kind: "hello" })
  } else {
    welcome.resolve(ALONE)
  }
  const heartbeat = setInterval(send, HEARTBEAT_EVERY_MS, HEARTBEAT)
  heartbeat.unref()
  return {
    isThere,
    welcome: welcome.promise,
    peers,
    send,
    ready: () => send(READY),
    onLost(handler) {
      if (process.send === undefined) return
      if (process.connected) process.once("disconnect", handler)
      else handler()
    },
  }
}

const ALONE: Welcome = { number: 1 }

function send(message: ToSupervisor | string): void {
  if (process.connected) process.send?.(message)
}
