/** The abilities of plugins as points that the gateway calls, bound once for each snapshot. */
import type { GatewayError } from "../errors.ts"
import { matcher } from "../protocol/pattern.ts"
import { binderOf } from "./binder.ts"
import type {
  AvailableProvider,
  Awaitable,
  CacheStats,
  FetchContext,
  HookContext,
  MiddlewareContext,
  Principal,
  RouteRequest,
} from "./contract.ts"
import type { PluginInstance } from "./instance.ts"
import { isPromise, type PluginPoint, type PointBook } from "./point.ts"
import { readPermissions, readPrincipal } from "./principal.ts"
import { A_BOOLEAN, A_PROVIDER, A_REPLY, A_RESPONSE, AN_ENTRY, ANYTHING, CACHE_STATS } from "./results.ts"

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

export function bindMiddleware(instance: PluginInstance<"middleware">, book: PointBook): BoundMiddleware {
  const { abilities } = instance
  const bind = binderOf(instance, book)
  return {
    name: instance.name,
    matches: routeMatcher(abilities.routes),
    beforeHandle: bind("beforeHandle", A_REPLY, abilities.beforeHandle),
    afterHandle: bind("afterHandle", A_REPLY, abilities.afterHandle),
    // A middleware's `onError` is not the hook of that name.
    onError: bind("middlewareOnError", A_REPLY, abilities.onError),
  }
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

/** A middleware that lists no routes is for all of them. */
function routeMatcher(routes: readonly string[] = []): BoundMiddleware["matches"] {
  return routes.length === 0 ? () => true : matcher(routes)
}

function mapped<T, R>(value: Awaitable<T>, map: (value: T) => R): Awaitable<R> {
  return isPromise(value) ? value.then(map) : map(value)
}
