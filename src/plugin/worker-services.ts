/** What `setup` is lent in a worker: the gateway's log, state and events, reached by messages. */
import { systemClock } from "../clock.ts"
import type { StateStore } from "../state/store.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { ModuleHost } from "./module-host.ts"
import type { PluginServices } from "./setup-context.ts"
import type { FromWorker, LogMethod, Outcome, StartPlan, StateRequest } from "./worker-protocol.ts"
import { unpackError } from "./worker-wire.ts"

export interface WorkerServices extends PluginServices {
  /** An answer of the gateway's state has come. */
  answered(id: number, outcome: Outcome<unknown>): void
}

export function workerServices(
  { directory, cleanUpTimeoutMs }: StartPlan,
  moduleHost: ModuleHost,
  send: (message: FromWorker) => void,
): WorkerServices {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let lastId = 0

  return {
    log: remoteLog(),
    state: remoteStore(),
    clock: systemClock,
    directory,
    moduleHost,
    setupTimeoutMs: cleanUpTimeoutMs,
    emitMetric: (_plugin, metric) => send({ kind: "metric", metric }),
    emitCacheEvent: (event) => send({ kind: "cacheEvent", event }),
    answered(id, outcome) {
      const answer = waiting.get(id)
      waiting.delete(id)
      if ("error" in outcome) answer?.reject(unpackError(outcome.error))
      else answer?.resolve(outcome.value)
    },
  }

  function ask(request: StateRequest): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>()
    const id = ++lastId
    // What cannot be sent throws here, so that the plugin hears of it.
    send({ kind: "state", id, request })
    waiting.set(id, answer)
    return answer.promise
  }

  /** The gateway adds the namespace: it knows whose worker this is. */
  function remoteStore(): StateStore {
    const store: StateStore = {
      get: (key) => ask({ operation: "get", key }),
      set: (key, value, options) => ask({ operation: "set", key, value, options }) as Promise<void>,
      delete: (key) => ask({ operation: "delete", key }) as Promise<boolean>,
      increment: (key, options) =>
        ask({ operation: "increment", key, options }) as ReturnType<StateStore["increment"]>,
      namespace: () => store,
      close() {},
    }
    return store
  }

  function remoteLog(): Logger {
    const say = (level: LogMethod) => (message: string, fields?: Readonly<Record<string, unknown>>) => {
      try {
        send({ kind: "log", level, message, fields })
      } catch {
        // A field is no plain data; what it looks like is better than no line at all.
        const texts = Object.entries(fields ?? {}).map(([key, value]) => [key, String(value)])
        send({ kind: "log", level, message, fields: Object.fromEntries(texts) })
      }
    }
    const log: Logger = {
      debug: say("debug"),
      info: say("info"),
      warn: say("warn"),
      error: say("error"),
      child: () => log,
    }
    return log
  }
}
