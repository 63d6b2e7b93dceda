/** The abilities and hooks of plugins as points that the gateway calls, bound once for each snapshot. */
import type { GatewayError } from "../errors.ts"
import { hasChoices } from "../protocol/openai.ts"
import { matcher } from "../protocol/pattern.ts"
import {
  type AvailableProvider,
  type Awaitable,
  type CacheStats,
  type FetchContext,
  HOOK_KINDS,
  HOOK_NAMES,
  type HookContext,
  type HookName,
  type Hooks,
  type MiddlewareContext,
  type PluginType,
  type Principal,
  type RouteRequest,
} from "./contract.ts"
import type { PluginInstance } from "./instance.ts"
import { isPromise, type OnFailure, PluginPoint, type PointBook, type ResultCheck } from "./point.ts"
import { readPermissions, readPrincipal } from "./principal.ts"
import { AN_ENTRY, CACHE_STATS } from "./results.ts"

export type HookEvent<N extends HookName> = Parameters<NonNullable<Hooks[N]>>[0]
type HookResult<N extends HookName> = Awaited<ReturnType<NonNullable<Hooks[N]>>>
export type HookPoint<N extends HookName> = PluginPoint<[HookEvent<N>, HookContext], HookResult<N>>
export type HookPoints = { readonly [N in HookName]: readonly HookPoint<N>[] }

type SeriesHook = Exclude<HookName, ObserveHook>
export type ObserveHook = { [N in HookName]: (typeof HOOK_KINDS)[N] extends "observe" ? N : never }[HookName]

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

/** None of these fails a request, but for `get` where the plugin is set to fail closed. */
export interface BoundCache {
  readonly name: string
  readonly distributed: boolean
  readonly get: PluginPoint<[string], Uint8Array | undefined>
  /** True once the entry is kept; undefined where that failed, as with those below. */
  readonly set: PluginPoint<[string, Uint8Array, { ttlMs?: number }], true>
  readonly delete: PluginPoint<[string], boolean>
  readonly clear: PluginPoint<[], true>
  readonly stats: PluginPoint<[], CacheStats>
}

export interface BoundAuth {
  readonly name: string
  /** Gives principals of the gateway's own. */
  readonly authenticate: PluginPoint<[string, HookContext], Principal | undefined>
  readonly permissions: PluginPoint<[string, HookContext], readonly string[]> | undefined
  readonly authorize: AuthorizePoint | undefined
}
export type AuthorizePoint = PluginPoint<[Principal, string, string, HookContext], boolean>

/** A plugin's own HTTP routes. */
export interface BoundEndpoint {
  readonly name: string
  readonly isPublic: boolean
  readonly fetch: PluginPoint<[Request, FetchContext], Response>
}

export function bindHooks(instances: readonly PluginInstance[], book: PointBook): HookPoints {
  const bound: { [N in HookName]?: readonly HookPoint<N>[] } = {}
  for (const name of HOOK_NAMES) Object.assign(bound, { [name]: bindHook(name, instances, book) })
  return bound as HookPoints
}

function bindHook<N extends HookName>(
  name: N,
  instances: readonly PluginInstance[],
  book: PointBook,
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
    const result = Object.hasOwn(SERIES_RESULTS, name) ? SERIES_RESULTS[name as SeriesHook] : ANYTHING
    const make = () => new PluginPoint({ instance, name, fn: handler.bind(hooks), onFailure, result, book })
    return [book.bound(instance, name, make)]
  })
}

export function bindMiddleware(instance: PluginInstance<"middleware">, book: PointBook): BoundMiddleware {
  const { abilities } = instance
  const bind = binderOf(instance, book)
  return {
    name: instance.name,
    matches: routeMatcher(abilities.routes),
    beforeHandle: bind("beforeHandle", REPLY, abilities.beforeHandle),
    afterHandle: bind("afterHandle", REPLY, abilities.afterHandle),
    // A middleware's `onError` is not the hook of that name.
    onError: bind("middlewareOnError", REPLY, abilities.onError),
  }
}

/** A middleware that lists no routes is for all of them. */
function routeMatcher(routes: readonly string[] = []): BoundMiddleware["matches"] {
  return routes.length === 0 ? () => true : matcher(routes)
}

export function bindRouter(instance: PluginInstance<"router">, book: PointBook): BoundRouter {
  const { abilities, name } = instance
  const bind = binderOf(instance, book)
  return {
    name,
    routeRequest: bind("routeRequest", A_BOOLEAN, abilities.routeRequest),
    selectProvider: bind("selectProvider", A_PROVIDER, abilities.selectProvider),
  }
}

export function bindCache(instance: PluginInstance<"cache">, book: PointBook): BoundCache {
  const { abilities, name } = instance
  // A cache has no say in who is answered, so what it throws is a failure, of whatever class.
  const bind = binderOf(instance, book, "observer")
  const bindGet = instance.failurePolicy === "closed" ? binderOf(instance, book) : bind
  return {
    name,
    distributed: abilities.distributed,
    get: bindGet("cache.get", AN_ENTRY, abilities.get),
    set: bind("cache.set", ANYTHING, async (key: string, value: Uint8Array, options: { ttlMs?: number }) => {
      await abilities.set(key, value, options)
      return true as const
    }),
    delete: bind("cache.delete", A_BOOLEAN, abilities.delete),
    clear: bind("cache.clear", ANYTHING, async () => {
      await abilities.clear()
      return true as const
    }),
    stats: bind("cache.stats", CACHE_STATS, abilities.stats),
  }
}

/** Whatever fails here is a refusal, so nothing the configuration says opens these points. */
export function bindAuth(instance: PluginInstance<"auth">, book: PointBook): BoundAuth {
  const { abilities, name } = instance
  const bind = binderOf(instance, book, "closed")
  const { permissions } = abilities
  return {
    name,
    authenticate: bind("auth.authenticate", ANYTHING, (token, context) =>
      mapped(abilities.authenticate(token, context), readPrincipal),
    ),
    permissions:
      permissions &&
      bind("auth.permissions", ANYTHING, (userId: string, context: HookContext) =>
        mapped(permissions.call(abilities, userId, context), readPermissions),
      ),
    authorize: bind("auth.authorize", A_BOOLEAN, abilities.authorize),
  }
}

/** There is nothing to go on with where a route fails, so it always fails its request. */
export function bindEndpoint(instance: PluginInstance, book: PointBook): BoundEndpoint | undefined {
  const { abilities, name } = instance
  const fetch = binderOf(instance, book, "closed")("fetch", A_RESPONSE, abilities.fetch)
  return fetch && { name, isPublic: abilities.public === true, fetch }
}

export function ofType<T extends PluginType>(
  instances: readonly PluginInstance[],
  type: T,
): readonly PluginInstance<T>[] {
  return instances.filter((instance): instance is PluginInstance<T> => instance.type === type)
}

/** Binds abilities of one plugin; one that the plugin does not have stays undefined. */
export function binderOf(
  instance: PluginInstance,
  book: PointBook,
  onFailure: OnFailure = failureOf(instance),
) {
  const { abilities } = instance
  function bind<A extends unknown[], R>(
    name: string,
    result: ResultCheck,
    fn: (...args: A) => Awaitable<R>,
  ): PluginPoint<A, R>
  function bind<A extends unknown[], R>(
    name: string,
    result: ResultCheck,
    fn: ((...args: A) => Awaitable<R>) | undefined,
  ): PluginPoint<A, R> | undefined
  function bind<A extends unknown[], R>(
    name: string,
    result: ResultCheck,
    fn: ((...args: A) => Awaitable<R>) | undefined,
  ): PluginPoint<A, R> | undefined {
    if (fn === undefined) return undefined
    return new PluginPoint({ instance, name, fn: fn.bind(abilities), onFailure, result, book })
  }
  return bind
}

const isNothing = (value: unknown) => value === undefined
const ANYTHING: ResultCheck = { expected: "anything", accepts: () => true }
const REPLY: ResultCheck = {
  expected: "a Response or nothing",
  accepts: (value) => isNothing(value) || value instanceof Response,
}
export const A_BOOLEAN: ResultCheck = {
  expected: "a boolean",
  accepts: (value) => typeof value === "boolean",
}
const A_RESPONSE: ResultCheck = {
  expected: "a Response with a status and a body that nobody has read",
  accepts: (value) => value instanceof Response && value.status >= 200 && !value.bodyUsed,
}
const A_PROVIDER: ResultCheck = {
  expected: "a provider's name or nothing",
  accepts: (value) => isNothing(value) || typeof value === "string",
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

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null
}

function failureOf(instance: PluginInstance): OnFailure {
  return instance.failurePolicy === "closed" ? "closed" : "open"
}

function mapped<T, R>(value: Awaitable<T>, map: (value: T) => R): Awaitable<R> {
  return isPromise(value) ? value.then(map) : map(value)
}
