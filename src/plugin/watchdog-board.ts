/** The memory that the gateway shares with its watchdog thread: a beat, who is inside, and calls in flight. */

/** Counts up for as long as the event loop turns. */
export const HEARTBEAT = 0
/** The slot of the plugin that runs now; 0: none. */
export const INSIDE = 1
/** From here on one number for each watched place: its calls that wait for a promise. */
export const FIRST_SLOT = 2
export const BOARD_SLOTS = 2 ** 16

export interface WatchedName {
  readonly slot: number
  readonly plugin: string
  readonly hook: string
}

export type ThreadMessage = { readonly board: Int32Array } | WatchedName
