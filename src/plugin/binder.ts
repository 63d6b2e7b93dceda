import type { Awaitable } from "./contract.ts"
import type { PluginInstance } from "./instance.ts"
import { type OnFailure, PluginPoint, type PointBook, type ResultCheck } from "./point.ts"

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

/** What the plugin's `on_error` means for a request in hand. */
export function failureOf(instance: PluginInstance): OnFailure {
  return instance.failurePolicy === "closed" ? "closed" : "open"
}
