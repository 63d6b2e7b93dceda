/**
 * Where a plugin's code lives: one module registry for every loaded version of a plugin, which takes its
 * timers, servers and requests with it when it goes. Nothing else in the gateway knows how that is done.
 */
import { AsyncLocalStorage } from "node:async_hooks"

export interface PluginModule {
  /** The default export. */
  readonly exports: unknown
  /** Calls `fn` inside the plugin's own context: what it opens belongs to the plugin. */
  run<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R
  /** Closes what the plugin opened and forgets its code. Calls in flight never settle. Idempotent. */
  dispose(): void
}

interface ModuleOptions {
  /** Told what the plugin's code throws or rejects when nobody waits for it. */
  readonly onError: (thrown: unknown) => void
}

interface ImportOptions extends ModuleOptions {
  /** Gives up: the import rejects with its reason. */
  readonly signal: AbortSignal
}

export interface ModuleHost {
  /** Evaluates a built plugin. The artefact is read before the promise settles, and never again. */
  import(artefact: string, options: ImportOptions): Promise<PluginModule>
  /** Gives a plugin that the gateway imported itself a context of its own. */
  adopt(exports: unknown, options: ModuleOptions): PluginModule
  /** Calls `fn` as the host, whoever calls: what it opens outlives the plugin or request it serves. */
  outside<T>(fn: () => T): T
}

/** The best that this version of Bun can do. */
export function createModuleHost(): ModuleHost {
  return "ModuleGraph" in Bun ? createGraphHost() : createCacheHost()
}

/** A `Bun.ModuleGraph` for each version. */
export function createGraphHost(): ModuleHost {
  return {
    outside: AsyncLocalStorage.snapshot(),
    async import(artefact, { onError, signal }) {
      const graph = new Bun.ModuleGraph({ onError })
      try {
        return graphModule(graph, await defaultExport(graph.import(artefact), signal))
      } catch (thrown) {
        graph.dispose()
        throw thrown
      }
    },
    adopt: (exports, { onError }) => graphModule(new Bun.ModuleGraph({ onError }), exports),
  }
}

/**
 * The host's own module registry, from which a version is removed as soon as it is loaded. Late errors reach
 * the process, what a plugin opened stays open unless the plugin closes it, and old code costs memory.
 */
export function createCacheHost(): ModuleHost {
  return {
    outside: AsyncLocalStorage.snapshot(),
    async import(artefact, { signal }) {
      try {
        return hostModule(await defaultExport(import(artefact), signal))
      } finally {
        delete require.cache[artefact]
      }
    },
    adopt: hostModule,
  }
}

function graphModule(graph: Bun.ModuleGraph, exports: unknown): PluginModule {
  return {
    exports,
    run: (fn, ...args) => graph.run(fn, ...args),
    dispose: () => graph.dispose(),
  }
}

function hostModule(exports: unknown): PluginModule {
  return { exports, run: (fn, ...args) => fn(...args), dispose() {} }
}

async function defaultExport(
  namespace: Promise<{ default?: unknown }>,
  signal: AbortSignal,
): Promise<unknown> {
  const cut = Promise.withResolvers<never>()
  const abort = () => cut.reject(signal.reason)
  if (signal.aborted) abort()
  else signal.addEventListener("abort", abort, { once: true })
  try {
    return (await Promise.race([namespace, cut.promise])).default
  } finally {
    signal.removeEventListener("abort", abort)
  }
}
