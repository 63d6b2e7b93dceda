/**
 * The compiled view of one generation of plugins. Everything a request needs is sorted and bound here, once;
 * requests pin a snapshot and see the same plugins from their first byte to their last.
 */
import {
  type AuthorizePoint,
  type BoundAuth,
  type BoundCache,
  type BoundEndpoint,
  type BoundMiddleware,
  type BoundRouter,
  bindAuth,
  bindCache,
  bindEndpoint,
  bindMiddleware,
  bindRouter,
} from "./bindings.ts"
import type { CanaryDraw } from "./canary-draw.ts"
import type { PluginType } from "./contract.ts"
import {
  bindHooks,
  type HookEvent,
  type HookPoint,
  type HookPoints,
  type ObserveHook,
} from "./hook-bindings.ts"
import type { PluginInstance } from "./instance.ts"
import { bindMonitors, type Monitors } from "./monitors.ts"
import { CallContext, type PointBook } from "./point.ts"
import { type BoundTransforms, bindTransforms } from "./transform-bindings.ts"

interface SnapshotOptions {
  readonly generation: number
  /** The active plugins, in order of registration. */
  readonly instances: readonly PluginInstance[]
  readonly points: PointBook
  /** Called once, when the snapshot is superseded and no request holds it. */
  readonly onIdle: (snapshot: Snapshot) => void
  readonly canaries?: CanaryDraw
}

/** How many distinct paths a snapshot remembers its middlewares for; more are matched anew. */
const REMEMBERED_PATHS = 512

export class Snapshot {
  readonly generation: number
  readonly instances: readonly PluginInstance[]
  readonly hooks: HookPoints
  readonly routers: readonly BoundRouter[]
  readonly caches: readonly BoundCache[]
  readonly transforms: BoundTransforms
  readonly providers: readonly PluginInstance<"provider">[]
  readonly auths: readonly BoundAuth[]
  /** What says who may do what; all must agree. */
  readonly guards: readonly AuthorizePoint[]
  /** The plugins that have HTTP routes of their own, by name. */
  readonly endpoints: ReadonlyMap<string, BoundEndpoint>
  readonly monitors: Monitors
  /** Where new versions are tried: who serves a request is drawn by `pick`. */
  readonly canaries: CanaryDraw | undefined
  readonly #middlewares: readonly BoundMiddleware[]
  readonly #byPath = new Map<string, readonly BoundMiddleware[]>()
  readonly #onIdle: (snapshot: Snapshot) => void
  #requests = 0
  #isRetired = false

  constructor({ generation, instances, points, onIdle, canaries }: SnapshotOptions) {
    const ordered = byPriority(instances)
    this.generation = generation
    this.instances = instances
    this.hooks = bindHooks(ordered, points)
    this.#middlewares = ofType(ordered, "middleware").map((instance) => bindMiddleware(instance, points))
    this.routers = ofType(ordered, "router").map((instance) => bindRouter(instance, points))
    this.caches = ofType(ordered, "cache").map((instance) => bindCache(instance, points))
    this.transforms = bindTransforms(ofType(ordered, "transform"), points)
    this.providers = ofType(ordered, "provider")
    this.auths = ofType(ordered, "auth").map((instance) => bindAuth(instance, points))
    this.guards = this.auths.flatMap(({ authorize }) => authorize ?? [])
    const endpoints = ordered.flatMap((instance) => bindEndpoint(instance, points) ?? [])
    this.endpoints = new Map(endpoints.map((endpoint) => [endpoint.name, endpoint]))
    this.monitors = bindMonitors(ofType(ordered, "monitoring"), points)
    this.canaries = canaries
    this.#onIdle = onIdle
  }

  /** The snapshot that serves a new request: this one, or one with canaries in it. */
  pick(): Snapshot {
    return this.canaries?.draw() ?? this
  }

  /** Requests that hold this snapshot now. */
  get requests(): number {
    return this.#requests
  }

  get hasMiddlewares(): boolean {
    return this.#middlewares.length > 0
  }

  /** The middlewares of a path, in the order in which their `beforeHandle` runs. */
  middlewaresFor(path: string): readonly BoundMiddleware[] {
    const known = this.#byPath.get(path)
    if (known !== undefined) return known
    const matching = this.#middlewares.filter((middleware) => middleware.matches(path))
    if (this.#byPath.size < REMEMBERED_PATHS) this.#byPath.set(path, matching)
    return matching
  }

  /**
   * Tells the observers of a hook, after the work in hand, and the monitors; never throws, never waits.
   * `makeEvent` runs only where somebody observes.
   */
  observe<N extends ObserveHook>(name: N, makeEvent: () => HookEvent<N>): void {
    const points: readonly HookPoint<N>[] = this.hooks[name]
    const isMonitored = this.monitors.want(name)
    if (points.length === 0 && !isMonitored) return
    const event = makeEvent()
    // All observers are told the same one: none may change what the next one sees.
    Object.freeze(event)
    if (isMonitored) this.monitors.take(name, event)
    if (points.length === 0) return
    this.retain()
    setImmediate(() => {
      const pending = points
        .map((point) => point.call(event, new CallContext()))
        .filter((result) => result instanceof Promise)
      if (pending.length === 0) return this.release()
      void Promise.allSettled(pending).then(() => this.release())
    })
  }

  retain(): void {
    this.#requests++
  }

  release(): void {
    this.#requests--
    this.#tellIfIdle()
  }

  /** Marks the snapshot as superseded. */
  retire(): void {
    this.#isRetired = true
    this.#tellIfIdle()
  }

  #tellIfIdle(): void {
    if (this.#isRetired && this.#requests === 0) this.#onIdle(this)
  }
}

function byPriority(instances: readonly PluginInstance[]): readonly PluginInstance[] {
  return [...instances].sort((a, b) => b.priority - a.priority || a.name.localeCompare(b.name))
}

function ofType<T extends PluginType>(
  instances: readonly PluginInstance[],
  type: T,
): readonly PluginInstance<T>[] {
  return instances.filter((instance): instance is PluginInstance<T> => instance.type === type)
}
