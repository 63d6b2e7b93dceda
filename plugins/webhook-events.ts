/** Sends what happens in the gateway to a URL: in batches, signed, and again where that fails. */
import { definePlugin, type MonitoringEvent, Type } from "leapgate/plugin"

const EVENTS = [
  "onResponse",
  "onError",
  "onStreamEnd",
  "onProviderSwitch",
  "onPluginLoad",
  "onCacheEvent",
] as const

export default definePlugin({
  name: "webhook-events",
  version: "1.0.0",
  type: "monitoring",
  description: "Sends events to a URL, in batches",
  metadata: { tags: ["monitoring", "webhook"] },
  config: Type.Object({
    url: Type.String({
      pattern: "^https?://[^\\s]+$",
      errorMessage: 'must be a URL such as "https://hooks.example.com/leapgate"',
    }),
    secret: Type.Optional(Type.String({ minLength: 1, description: "Signs every request" })),
    headers: Type.Record(Type.String(), Type.String(), {
      default: {},
      description: "Sent with every request",
    }),
    events: Type.Array(Type.Union(EVENTS.map((name) => Type.Literal(name))), {
      default: [...EVENTS],
      description: "Which ones are sent",
    }),
    batch: Type.Object(
      {
        max: Type.Integer({ minimum: 1, default: 100, description: "Events in one request" }),
        wait: Type.Duration({ default: "1s", description: "How long an event may wait for others" }),
      },
      { default: {} },
    ),
    queue: Type.Integer({
      minimum: 1,
      default: 10_000,
      description: "Events that may wait; of more the oldest go",
    }),
    retries: Type.Integer({ minimum: 0, default: 5, description: "After the first try of a request" }),
    timeout: Type.Duration({ default: "10s", description: "Of one request" }),
  }),

  setup({ config, log, emit }) {
    const { url, secret, headers, batch, timeout: timeoutMs } = config
    let queue: WebhookEvent[] = []
    let sending: Promise<void> | undefined
    let isClosing = false
    let isGathering = false
    /** Ends the pause in hand. */
    let wake = () => {}

    return {
      recordEvent(events) {
        for (const event of events) {
          if (!(config.events as readonly string[]).includes(event.name)) continue
          queue.push({ id: Bun.randomUUIDv7(), ...event })
        }
        const excess = queue.length - config.queue
        if (excess > 0) {
          queue = queue.slice(excess)
          dropped(excess, "queue_full")
        }
        if (queue.length === 0) return
        if (isGathering && queue.length >= batch.max) wake()
        sending ??= sendAll()
      },
      // What is left goes out at once; the gateway says how long that may take.
      async shutdown() {
        isClosing = true
        wake()
        await sending
      },
    }

    /** One request at a time, so that events arrive in their order. */
    async function sendAll(): Promise<void> {
      while (queue.length > 0) {
        if (queue.length < batch.max) await gather()
        const events = queue.slice(0, batch.max)
        queue = queue.slice(events.length)
        await deliver(events)
      }
      sending = undefined
    }

    async function deliver(events: readonly WebhookEvent[]): Promise<void> {
      const body = JSON.stringify({ events })
      for (let attempt = 0; ; attempt++) {
        // While the plugin is going there is no time for pauses: one try that begins then is the last.
        const isLast = isClosing || attempt >= config.retries
        const failure = await post(body)
        if (failure === undefined) return
        if (failure.isFinal || isLast) {
          dropped(events.length, "undeliverable")
          log.warn("events could not be delivered", { events: events.length, reason: failure.reason })
          return
        }
        await pause(failure.retryAfterMs ?? backoffMs(attempt))
      }
    }

    async function post(body: string): Promise<Failure | undefined> {
      try {
        const response = await fetch(url, {
          method: "POST",
          headers: { ...headers, "content-type": "application/json", ...signature(body) },
          body,
          redirect: "manual",
          signal: AbortSignal.timeout(timeoutMs),
        })
        await response.body?.cancel().catch(() => {})
        if (response.ok) return undefined
        const { status } = response
        const isFinal = status < 500 && status !== 408 && status !== 429
        return { reason: `status ${status}`, isFinal, retryAfterMs: retryAfterMs(response.headers) }
      } catch (thrown) {
        return { reason: thrown instanceof Error ? thrown.message : String(thrown), isFinal: false }
      }
    }

    /** Over time and body, so that an old request cannot be sent again by somebody else. */
    function signature(body: string): Record<string, string> {
      if (secret === undefined) return {}
      const seconds = Math.floor(Date.now() / 1000)
      const digest = new Bun.CryptoHasher("sha256", secret).update(`${seconds}.${body}`).digest("hex")
      return { "x-leapgate-signature": `t=${seconds},v1=${digest}` }
    }

    function dropped(count: number, reason: string): void {
      emit.metric({ name: "webhook_events.dropped", value: count, type: "counter", tags: { reason } })
    }

    /** Waits for more events, until a batch is full. */
    async function gather(): Promise<void> {
      isGathering = true
      await pause(batch.wait)
      isGathering = false
    }

    function pause(ms: number): Promise<void> {
      if (isClosing) return Promise.resolve()
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, ms)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  },
})

interface WebhookEvent extends MonitoringEvent {
  readonly id: string
}

interface Failure {
  readonly reason: string
  /** Nothing would be different another time. */
  readonly isFinal: boolean
  readonly retryAfterMs?: number | undefined
}

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 60_000

/** Doubles each time; half of it is left to chance, so that many gateways do not come back at the same moment. */
function backoffMs(attempt: number): number {
  const ms = Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS)
  return ms / 2 + Math.random() * (ms / 2)
}

/** Seconds or a date. Source: RFC 9110, 10.2.3 */
function retryAfterMs(headers: Headers): number | undefined {
  const text = headers.get("retry-after")
  if (text === null) return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), LONGEST_PAUSE_MS)
}
