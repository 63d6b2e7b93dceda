import type { StaticDecode, TObject } from "@sinclair/typebox"
import type { Abilities, Awaitable, Hooks, PluginDefinition, PluginType, SetupContext } from "./contract.ts"

/**
 * Types a plugin definition; the default export of every plugin file. Returns its argument.
 *
 * What `setup` returns is held to the abilities of the type and to the ten hooks: a misspelt one does not compile. An
 * object of a class that has more to it is returned as the interface it implements:
 * `setup: (): CacheAbilities => new RedisCache()`.
 */
export function definePlugin<
  const T extends PluginType,
  A extends Abilities<T>,
  S extends TObject = NoConfig,
>(definition: TypedDefinition<T, A, S> & OnlyKnown<A, T>): PluginDefinition<T, S> {
  // A is only there to be judged; the definition is what it was.
  return definition as TypedDefinition<T, A, S> as PluginDefinition<T, S>
}

/** A plugin without a schema has no settings, and not any settings. */
type NoConfig = TObject<Record<never, never>>

type TypedDefinition<T extends PluginType, A, S extends TObject> = Omit<PluginDefinition<T, S>, "setup"> & {
  setup(context: SetupContext<StaticDecode<S>>): Awaitable<A>
}

/**
 * TypeScript takes a function for another one whose result has fewer properties, so it does not see what is too much
 * in the result of `setup`. Where something is, the definition would have to have this sentence as its `setup`.
 */
type OnlyKnown<A, T extends PluginType> = [A] extends [never]
  ? unknown
  : [UnknownKeys<A, T>] extends [never]
    ? unknown
    : { readonly setup: `${UnknownKeys<A, T> & string} is no ability of type ${T}, and no hook` }

type UnknownKeys<A, T extends PluginType> =
  | Exclude<keyof A, keyof Abilities<T>>
  | (A extends { readonly hooks?: infer H }
      ? H extends object
        ? Exclude<keyof H, keyof Hooks>
        : never
      : never)
