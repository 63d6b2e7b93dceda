/** The serving process's end of the line to its supervisor. */
import { HEARTBEAT, READY, SUPERVISED } from "./supervisor.ts"

const HEARTBEAT_EVERY_MS = 1000

export interface SupervisorLink {
  /** Tells the supervisor that requests are answered: from now on it restarts this process after a crash. */
  ready(): void
  /** Runs the handler when the supervisor is gone: nobody would pass on a signal any more. */
  onLost(handler: () => void): void
}

/** Shows the supervisor every second that the event loop turns. Without a supervisor it does nothing. */
export function linkToSupervisor(): SupervisorLink {
  // What plugins start has no supervisor.
  delete process.env[SUPERVISED]
  const heartbeat = setInterval(send, HEARTBEAT_EVERY_MS, HEARTBEAT)
  heartbeat.unref()
  return {
    ready: () => send(READY),
    onLost(handler) {
      if (process.send !== undefined) process.once("disconnect", handler)
    },
  }
}

function send(message: string): void {
  if (process.connected) process.send?.(message)
}
