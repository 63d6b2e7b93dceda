/** The hooks of plugins as points that the gateway calls. */
import { hasChoices } from "../protocol/openai.ts"
import { failureOf } from "./binder.ts"
import {
  type Awaitable,
  HOOK_KINDS,
  HOOK_NAMES,
  type HookContext,
  type HookName,
  type Hooks,
} from "./contract.ts"
import type { PluginInstance } from "./instance.ts"
import { PluginPoint, type PointBook, type ResultCheck } from "./point.ts"
import { ANYTHING } from "./results.ts"

export type HookEvent<N extends HookName> = Parameters<NonNullable<Hooks[N]>>[0]
type HookResult<N extends HookName> = Awaited<ReturnType<NonNullable<Hooks[N]>>>
export type HookPoint<N extends HookName> = PluginPoint<[HookEvent<N>, HookContext], HookResult<N>>
export type HookPoints = { readonly [N in HookName]: readonly HookPoint<N>[] }

type SeriesHook = Exclude<HookName, ObserveHook>
export type ObserveHook = { [N in HookName]: (typeof HOOK_KINDS)[N] extends "observe" ? N : never }[HookName]

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

/** What each `series` hook may return; anything else is a failure of the plugin. */
const SERIES_RESULTS = {
  onRequest: {
    expected: "an object or nothing",
    accepts: (value) => value === undefined || (typeof value === "object" && value !== null),
  },
  onChunk: {
    expected: "a chunk with choices, null or nothing",
    accepts: (value) => value === undefined || value === null || hasChoices(value),
  },
  onText: {
    expected: "a string or nothing",
    accepts: (value) => value === undefined || typeof value === "string",
  },
} as const satisfies Record<SeriesHook, ResultCheck>
