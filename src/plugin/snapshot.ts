/**
 * The compiled view of one generation of plugins. Everything a request needs is sorted and bound here, once;
 * requests pin a snapshot and see the same plugins from their first byte to their last.
 */

import type { GatewayError } from "../errors.ts"
import { hasChoices } from "../protocol/openai.ts"
import { pathMatcher } from "../protocol/path-pattern.ts"
import {
  type AvailableProvider,
  type Awaitable,
  HOOK_KINDS,
  HOOK_NAMES,
  type HookContext,
  type HookName,
  type Hooks,
  type MiddlewareAbilities,
  type MiddlewareContext,
  type PluginType,
  type RouteRequest,
} from "./contract.ts"
import type { PluginInstance } from "./instance.ts"
import { CallContext, type OnFailure, PluginPoint, type PointBook, type ResultCheck } from "./point.ts"

type HookEvent<N extends HookName> = Parameters<NonNullable<Hooks[N]>>[0]
type HookResult<N extends HookName> = Awaited<ReturnType<NonNullable<Hooks[N]>>>
type HookPoint<N extends HookName> = PluginPoint<[HookEvent<N>, HookContext], HookResult<N>>
type HookPoints = { readonly [N in HookName]: readonly HookPoint<N>[] }

export interface BoundMiddleware {
  readonly name: string
  readonly matches: (path: string) => boolean
  readonly beforeHandle: PluginPoint<[MiddlewareContext], Response | void> | undefined
  readonly afterHandle: PluginPoint<[MiddlewareContext, Response], Response | void> | undefined
  readonly onError: PluginPoint<[MiddlewareContext, GatewayError], Response | void> | undefined
}

export interface BoundRouter {
  readonly name: string
  readonly routeRequest: PluginPoint<[RouteRequest], boolean>
  readonly selectProvider: PluginPoint<[RouteRequest, readonly AvailableProvider[]], string | undefined>
}

interface SnapshotOptions {
  readonly generation: number
  /** The active plugins, in order of registration. */
  readonly instances: readonly PluginInstance[]
  readonly points: PointBook
  /** Called once, when the snapshot is superseded and no request holds it. */
  readonly onIdle: (snapshot: Snapshot) => void
}

/** How many distinct paths a snapshot remembers its middlewares for; more are matched anew. */
const REMEMBERED_PATHS = 512

export class Snapshot {
  readonly generation: number
  readonly instances: readonly PluginInstance[]
  readonly hooks: HookPoints
  readonly routers: readonly BoundRouter[]
  readonly providers: readonly PluginInstance<"provider">[]
  readonly #middlewares: readonly BoundMiddleware[]
  readonly #byPath = new Map<string, readonly BoundMiddleware[]>()
  readonly #onIdle: (snapshot: Snapshot) => void
  #requests = 0
  #isRetired = false

  constructor({ generation, instances, points, onIdle }: SnapshotOptions) {
    const ordered = byPriority(instances)
    this.generation = generation
    this.instances = instances
    this.hooks = bindHooks(ordered, points)
    this.#middlewares = ofType(ordered, "middleware").map((instance) => bindMiddleware(instance, points))
    this.routers = ofType(ordered, "router").map((instance) => bindRouter(instance, points))
    this.providers = ofType(ordered, "provider")
    this.#onIdle = onIdle
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
   * Tells the observers of a hook, after the work in hand; never throws, never waits. `makeEvent` runs only
   * where somebody observes.
   */
  observe<N extends ObserveHook>(name: N, makeEvent: () => HookEvent<N>): void {
    const points: readonly HookPoint<N>[] = this.hooks[name]
    if (points.length === 0) return
    const event = makeEvent()
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

type SeriesHook = Exclude<HookName, ObserveHook>
type ObserveHook = { [N in HookName]: (typeof HOOK_KINDS)[N] extends "observe" ? N : never }[HookName]

function byPriority(instances: readonly PluginInstance[]): readonly PluginInstance[] {
  return [...instances].sort((a, b) => b.priority - a.priority || a.name.localeCompare(b.name))
}

function ofType<T extends PluginType>(instances: readonly PluginInstance[], type: T) {
  return instances.filter((instance): instance is PluginInstance<T> => instance.type === type)
}

function bindHooks(instances: readonly PluginInstance[], points: PointBook): HookPoints {
  const bound: { [N in HookName]?: readonly HookPoint<N>[] } = {}
  for (const name of HOOK_NAMES) Object.assign(bound, { [name]: bindHook(name, instances, points) })
  return bound as HookPoints
}

function bindHook<N extends HookName>(
  name: N,
  instances: readonly PluginInstance[],
  points: PointBook,
): readonly HookPoint<N>[] {
  return instances.flatMap((instance) => {
    const { hooks } = instance.abilities
    const handler = hooks?.[name] as
      | ((event: HookEvent<N>, context: HookContext) => Awaitable<HookResult<N>>)
      | undefined
    if (handler === undefined) return []
    // An observer runs when the client has been served: there is no request left to fail.
    const onFailure = HOOK_KINDS[name] === "observe" ? "observer" : failureOf(instance)
    // Nobody looks at what an observer returns.
    const result = name in SERIES_RESULTS ? SERIES_RESULTS[name as SeriesHook] : ANYTHING
    return [new PluginPoint({ instance, name, fn: handler.bind(hooks), onFailure, result, book: points })]
  })
}

function bindMiddleware(instance: PluginInstance<"middleware">, points: PointBook): BoundMiddleware {
  const abilities: MiddlewareAbilities = instance.abilities
  const { beforeHandle, afterHandle, onError } = abilities
  return {
    name: instance.name,
    matches: pathMatcher(abilities.routes),
    beforeHandle: beforeHandle && bindAbility(instance, "beforeHandle", beforeHandle.bind(abilities), points),
    afterHandle: afterHandle && bindAbility(instance, "afterHandle", afterHandle.bind(abilities), points),
    onError: onError && bindAbility(instance, "middlewareOnError", onError.bind(abilities), points),
  }
}

function bindRouter(instance: PluginInstance<"router">, points: PointBook): BoundRouter {
  const { abilities, name } = instance
  return {
    name,
    routeRequest: bindAbility(instance, "routeRequest", abilities.routeRequest.bind(abilities), points),
    selectProvider: bindAbility(instance, "selectProvider", abilities.selectProvider.bind(abilities), points),
  }
}

function bindAbility<A extends unknown[], R>(
  instance: PluginInstance,
  name: keyof typeof ABILITY_RESULTS,
  fn: (...args: A) => Awaitable<R>,
  book: PointBook,
): PluginPoint<A, R> {
  return new PluginPoint({
    instance,
    name,
    fn,
    onFailure: failureOf(instance),
    result: ABILITY_RESULTS[name],
    book,
  })
}

const isNothing = (value: unknown) => value === undefined
const ANYTHING: ResultCheck = { expected: "anything", accepts: () => true }
const REPLY: ResultCheck = {
  expected: "a Response or nothing",
  accepts: (value) => isNothing(value) || value instanceof Response,
}

/** What each `series` hook may return; anything else is a failure of the plugin. */
const SERIES_RESULTS = {
  onRequest: { expected: "an object or nothing", accepts: (value) => isNothing(value) || isObject(value) },
  onChunk: {
    expected: "a chunk with choices, null or nothing",
    accepts: (value) => isNothing(value) || value === null || hasChoices(value),
  },
  onText: {
    expected: "a string or nothing",
    accepts: (value) => isNothing(value) || typeof value === "string",
  },
} as const satisfies Record<SeriesHook, ResultCheck>

/** The same for abilities. A middleware's `onError` is not the hook of that name. */
const ABILITY_RESULTS = {
  beforeHandle: REPLY,
  afterHandle: REPLY,
  middlewareOnError: REPLY,
  routeRequest: { expected: "a boolean", accepts: (value) => typeof value === "boolean" },
  selectProvider: {
    expected: "a provider's name or nothing",
    accepts: (value) => isNothing(value) || typeof value === "string",
  },
} as const satisfies Record<string, ResultCheck>

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null
}

function failureOf(instance: PluginInstance): OnFailure {
  return instance.failurePolicy === "closed" ? "closed" : "open"
}
