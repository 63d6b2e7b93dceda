/** The cache plugins and one call: asked before it is routed, filled when the client was served. */
import type { BoundCache } from "../plugin/bindings.ts"
import type { CacheEvent, StreamOutcome } from "../plugin/contract.ts"
import { type CacheControl, readCacheControl } from "../protocol/cache-control.ts"
import { type CacheEntry, decodeEntry, encodeEntry, MAX_ENTRY_BYTES } from "../protocol/cache-entry.ts"
import { requestKey } from "../protocol/request-key.ts"
import { clientLeft } from "../routing/client-left.ts"
import type { StreamReply } from "../routing/stream-source.ts"
import { recordStream } from "./cached-stream.ts"
import type { Call } from "./call.ts"

interface Found {
  readonly entry: CacheEntry
  readonly ageSeconds: number
}

export class ReplyCache {
  readonly #call: Call
  readonly #caches: readonly BoundCache[]
  readonly #control: CacheControl
  #knownKey: string | undefined
  #headers: Readonly<Record<string, string>> = BYPASSED

  private constructor(call: Call) {
    this.#call = call
    this.#caches = call.input.snapshot.caches
    this.#control = readCacheControl(call.input.headers.get("cache-control"))
  }

  /** Undefined where no cache plugin is live. */
  static of(call: Call): ReplyCache | undefined {
    return call.input.snapshot.caches.length === 0 ? undefined : new ReplyCache(call)
  }

  /** What the reply says about the cache. */
  get headers(): Readonly<Record<string, string>> {
    return this.#headers
  }

  /**
   * What the first cache that has it kept for this call.
   * @throws GatewayError of a cache that is set to fail closed; `client_closed_request`
   */
  async look(): Promise<CacheEntry | undefined> {
    const { metrics } = this.#call.deps
    if (this.#control.noStore || this.#control.noCache) {
      for (const { name } of this.#caches) metrics.cacheAsked(name, "bypass")
      return undefined
    }
    this.#headers = MISSED
    for (const [index, cache] of this.#caches.entries()) {
      const value = await cache.get.call(this.#key)
      if (this.#call.input.signal.aborted) throw clientLeft()
      const found = value && this.#read(value)
      metrics.cacheAsked(cache.name, found ? "hit" : "miss")
      if (found && value) return this.#hit(index, value, found)
      this.#tell(cache, { eventType: "miss" })
    }
    return undefined
  }

  /** Stores a whole plain reply, as the provider sent it. */
  keep(body: Uint8Array<ArrayBuffer>): void {
    if (!this.#call.input.signal.aborted) this.#store("plain", body)
  }

  /** Stores a stream, as the provider sends it, once it has gone through whole. */
  record(reply: StreamReply): { reply: StreamReply; onEnd: (outcome: StreamOutcome) => void } {
    if (this.#control.noStore) return { reply, onEnd() {} }
    const recorder = recordStream(reply)
    return {
      reply: recorder.reply,
      onEnd: (outcome) => {
        const body = outcome === "complete" ? recorder.recorded() : undefined
        if (body !== undefined) this.#store("stream", body)
      },
    }
  }

  get #key(): string {
    const { model, preferredProvider: provider, stream, body, operation } = this.#call
    this.#knownKey ??= requestKey({
      protocol: `openai-${operation}`,
      model,
      provider,
      stream,
      request: body.object(),
    })
    return this.#knownKey
  }

  /** Undefined for what is damaged, foreign, or older than the client wants it. */
  #read(value: Uint8Array): Found | undefined {
    const { deps, stream } = this.#call
    const entry = decodeEntry(value)
    if (entry?.kind !== (stream ? "stream" : "plain")) return undefined
    // Another node's clock may be ahead.
    const ageSeconds = Math.max(0, deps.clock.now() - entry.storedAtMs) / 1000
    return ageSeconds > this.#control.maxAgeSeconds ? undefined : { entry, ageSeconds }
  }

  #hit(index: number, value: Uint8Array, { entry, ageSeconds }: Found): CacheEntry {
    const cache = this.#caches[index]
    if (cache !== undefined) this.#tell(cache, { eventType: "hit", sizeBytes: value.byteLength })
    this.#headers = { "x-leapgate-cache": "hit", age: String(Math.floor(ageSeconds)) }
    this.#call.cachedFrom = entry.provider
    if (index > 0) this.#fill(this.#caches.slice(0, index), () => value)
    return entry
  }

  #store(kind: CacheEntry["kind"], body: Uint8Array<ArrayBuffer>): void {
    const { candidate, deps } = this.#call
    if (this.#control.noStore || body.byteLength > MAX_ENTRY_BYTES || candidate === undefined) return
    const { model, provider } = candidate
    const storedAtMs = deps.clock.now()
    this.#fill(this.#caches, () => encodeEntry({ kind, provider: provider.name, model, storedAtMs, body }))
  }

  /** After the work in hand, with the plugins held until they are done. */
  #fill(caches: readonly BoundCache[], makeValue: () => Uint8Array): void {
    const { snapshot } = this.#call.input
    snapshot.retain()
    setImmediate(() => {
      const value = makeValue()
      const pending = caches.map((cache) => this.#set(cache, value))
      void Promise.allSettled(pending).then(() => snapshot.release())
    })
  }

  async #set(cache: BoundCache, value: Uint8Array): Promise<void> {
    const isKept = await cache.set.call(this.#key, value, {})
    if (isKept) this.#tell(cache, { eventType: "set", sizeBytes: value.byteLength })
  }

  #tell({ name: plugin }: BoundCache, event: Pick<CacheEvent, "eventType" | "sizeBytes">): void {
    const { clock, cacheEvent } = this.#call.deps
    cacheEvent({ ...event, plugin, key: this.#key, timestamp: clock.now() })
  }
}

const MISSED = { "x-leapgate-cache": "miss" } as const
const BYPASSED = { "x-leapgate-cache": "bypass" } as const
