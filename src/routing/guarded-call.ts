/**
 * Calls into provider plugins. Unlike at a `PluginPoint`, it is the caller's signal that ends a call, because an
 * attempt has time limits of its own.
 */
import { GatewayError } from "../errors.ts"
import type { Awaitable } from "../plugin/contract.ts"
import type { PluginInstance } from "../plugin/instance.ts"
import type { PointBook } from "../plugin/point.ts"

interface GuardOptions<C, R> {
  readonly instance: PluginInstance<"provider">
  /** The label of its durations: `provider.chat`. */
  readonly point: string
  readonly fn: (call: C) => Awaitable<R>
  readonly points: PointBook
  /** Whether a call may go through while the plugin is switched off for failing; without it, none may. */
  readonly admits?: (() => boolean) | undefined
  /** Counts what the plugin threw, where that is the plugin's fault; what this returns is thrown instead. */
  readonly onThrow?: (thrown: unknown, call: C) => unknown
}

/**
 * One ability of a provider plugin as a function that runs it in the plugin's own context, is counted, and settles
 * even where the plugin ignores its signal or is taken out of service.
 */
export function guarded<C extends { readonly signal: AbortSignal }, R>({
  instance,
  point,
  fn,
  points,
  admits,
  onThrow,
}: GuardOptions<C, R>): (call: C) => Promise<R> {
  const duration = points.duration(instance, point)
  return async function callProvider(call) {
    if (instance.isOff && admits?.() !== true) throw switchedOff(instance)
    const startMs = performance.now()
    let failure: unknown
    const cut = Promise.withResolvers<never>()
    const forget = instance.onGone(cut.reject)
    const abort = () => cut.reject(call.signal.reason)
    call.signal.addEventListener("abort", abort, { once: true })
    try {
      return await Promise.race([instance.run(fn, call), cut.promise])
    } catch (thrown) {
      failure = thrown
      throw onThrow === undefined ? thrown : onThrow(thrown, call)
    } finally {
      forget()
      call.signal.removeEventListener("abort", abort)
      const elapsedMs = performance.now() - startMs
      duration.record(elapsedMs / 1000)
      instance.called(point, elapsedMs, failure)
    }
  }
}

function switchedOff({ name, breaker }: PluginInstance): GatewayError {
  return new GatewayError(
    "upstream_server_error",
    `provider plugin "${name}" kept failing and is switched off for a while; its last error is at /admin/plugins/${name}`,
    { retryAfterMs: breaker?.restMs() ?? 0 },
  )
}
