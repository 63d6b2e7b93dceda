/** What monitoring plugins are told of an event: plain data, without what callers sent, got, or prove who they are by. */

import type { CallEvent, MonitoringEvent } from "./contract.ts"
import type { HookEvent, ObserveHook } from "./hook-bindings.ts"

export type MonitoredHook = Exclude<ObserveHook, "onMetric">

export function monitoringEvent<N extends MonitoredHook>(
  name: N,
  event: HookEvent<N>,
  timestamp: number,
): MonitoringEvent {
  return Object.freeze({ name, timestamp, attributes: Object.freeze({ ...ATTRIBUTES[name](event) }) })
}

const ATTRIBUTES: { readonly [N in MonitoredHook]: (event: HookEvent<N>) => object } = {
  onResponse: (event) => ({
    ...callAttributes(event),
    responseStatus: event.responseStatus,
    durationMs: event.durationMs,
    usage: event.usage && Object.freeze({ ...event.usage }),
    tokensUsed: event.tokensUsed,
    costUsd: event.costUsd,
    cacheHit: event.cacheHit,
  }),
  onError: (event) => ({
    ...callAttributes(event),
    error: Object.freeze({ code: event.error.code, message: event.error.message }),
    errorType: event.errorType,
    retryable: event.retryable,
    durationMs: event.durationMs,
  }),
  onStreamEnd: (event) => ({
    ...callAttributes(event),
    outcome: event.outcome,
    events: event.events,
    sizeBytes: event.sizeBytes,
    durationMs: event.durationMs,
    firstTokenMs: event.firstTokenMs,
    usage: event.usage && Object.freeze({ ...event.usage }),
  }),
  onProviderSwitch: (event) => ({
    ...callAttributes(event),
    fromProvider: event.fromProvider,
    toProvider: event.toProvider,
    reason: event.reason,
  }),
  onPluginLoad: ({ plugin, version, type, change, generation }) => ({
    plugin,
    version,
    type,
    change,
    generation,
  }),
  onCacheEvent: ({ plugin, eventType, key, sizeBytes, ttlMs }) => ({
    plugin,
    eventType,
    key,
    sizeBytes,
    ttlMs,
  }),
}

function callAttributes(event: CallEvent) {
  return {
    requestId: event.requestId,
    traceId: event.traceId,
    generation: event.generation,
    model: event.model,
    provider: event.provider,
    stream: event.stream,
    principal: event.principal.name,
    startTime: event.startTime,
    attempt: event.attempt,
  }
}
