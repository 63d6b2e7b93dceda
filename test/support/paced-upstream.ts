/**
 * An upstream process for many streams at once: `bun paced-upstream.ts`. Each stream gets its first token at
 * once and then waits until as many are open as its prompt says; so a gateway that lets one wait for another never
 * ends. `GET /stats` tells how many were open at once.
 */
import { completion, streamedAnswer } from "./completions.ts"

const TOKENS_AFTER_THE_FIRST = 10
const PACE_MS = 100

let openStreams = 0
let mostOpen = 0
const waiting = new Set<() => void>()

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 0,
  routes: {
    "/stats": () => Response.json({ openStreams, mostOpen }),
    "/reset": () => {
      mostOpen = openStreams
      return new Response()
    },
    "/v1/chat/completions": async (request) => {
      const { model, stream, messages } = (await request.json()) as {
        model: string
        stream?: boolean
        messages: { content: string }[]
      }
      if (!stream) return Response.json(completion(model, "ready"))
      return new Response(events(model, Number(messages[0]?.content)), {
        headers: { "content-type": "text/event-stream" },
      })
    },
  },
})
console.log(`listening on http://127.0.0.1:${server.port}`)

async function* events(model: string, expectedStreams: number): AsyncGenerator<string> {
  const words = Array.from({ length: TOKENS_AFTER_THE_FIRST + 1 }, (_, index) => `t${index} `)
  const [role = "", first = "", ...rest] = streamedAnswer(model, words)
  openStreams++
  mostOpen = Math.max(mostOpen, openStreams)
  try {
    yield role + first
    await until(() => mostOpen >= expectedStreams)
    for (const event of rest) {
      await Bun.sleep(PACE_MS)
      yield event
    }
  } finally {
    openStreams--
  }
}

async function until(isReached: () => boolean): Promise<void> {
  while (!isReached()) {
    await new Promise<void>((resolve) => void waiting.add(resolve))
  }
  for (const wake of waiting) wake()
  waiting.clear()
}
