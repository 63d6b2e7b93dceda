import { postChat } from "./chat.ts"
import { readWholeStream, type WholeStream } from "./streamed-reply.ts"

interface TrafficOptions {
  /** A model that answers "fine". */
  readonly plain: { readonly model: string; readonly callers: number }
  /** One that streams these words. */
  readonly streamed: { readonly model: string; readonly callers: number; readonly words: readonly string[] }
  /** Whether a reply is as it should be, beyond being whole. */
  readonly isGood?: (reply: Response) => boolean
  readonly isGoodStream?: (stream: WholeStream) => boolean
}

export interface Traffic {
  /** What was wrong with replies so far. */
  readonly failures: readonly string[]
  plainAnswers(): number
  streams(): number
  /** Resolves when every caller has had its last reply. */
  stop(): Promise<void>
}

/** Callers that ask a gateway for one reply after another. */
export function startTraffic(url: string, options: TrafficOptions): Traffic {
  const { plain, streamed, isGood = () => true, isGoodStream = () => true } = options
  const failures: string[] = []
  let isOver = false
  let plainAnswers = 0
  let streams = 0

  const callers = [
    ...Array.from({ length: plain.callers }, async () => {
      while (!isOver) {
        const response = await postChat(url, { model: plain.model })
        const text = await response.text()
        if (response.status !== 200 || !text.includes("fine") || !isGood(response)) {
          failures.push(`${response.status} ${JSON.stringify([...response.headers])} ${text}`)
        }
        plainAnswers++
      }
    }),
    ...Array.from({ length: streamed.callers }, async () => {
      while (!isOver) {
        const stream = await readWholeStream(await postChat(url, { model: streamed.model, stream: true }))
        const isWhole = stream.text === streamed.words.join("") && stream.isDone && stream.end === "clean"
        if (!isWhole || !isGoodStream(stream)) failures.push(JSON.stringify(stream).slice(0, 500))
        streams++
      }
    }),
  ]
  return {
    failures,
    plainAnswers: () => plainAnswers,
    streams: () => streams,
    async stop() {
      isOver = true
      await Promise.all(callers)
    },
  }
}
