/** Synthetic traffic for `leapgate plugin bench`. */
import { postChat } from "../testing/chat.ts"

export interface Load {
  /** Below /v1. */
  readonly model: string
  readonly headers: Readonly<Record<string, string>>
}

/** Of each round: plain requests, streamed ones, and how many are open at a time. */
export const PLAIN = 80
export const STREAMED = 20
const AT_A_TIME = 4

const PIECES = 10
/** What the provider says: a chunk each, in a stream. */
export const ANSWER: readonly string[] = Array.from({ length: PIECES }, (_, index) => `word ${index} `)
const PROMPT = "What is the answer? ".repeat(50)

export interface Measurement {
  readonly requestsPerSecond: number
  /** Replies that were no success. */
  readonly failed: number
}

export async function measure(url: string, { model, headers }: Load): Promise<Measurement> {
  const waiting = Array.from({ length: PLAIN + STREAMED }, (_, index) => index % (PLAIN / STREAMED + 1) === 0)
  let failed = 0
  const startMs = performance.now()
  await Promise.all(Array.from({ length: AT_A_TIME }, sendWaiting))
  const seconds = (performance.now() - startMs) / 1000
  return { requestsPerSecond: (PLAIN + STREAMED) / seconds, failed }

  async function sendWaiting(): Promise<void> {
    for (let stream = waiting.pop(); stream !== undefined; stream = waiting.pop()) {
      const { status, error } = await postChat(url, PROMPT, { model, headers, stream })
      if (status >= 300 || error !== undefined) failed++
    }
  }
}
