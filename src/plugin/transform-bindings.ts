/** The transforms of a snapshot, by what they are asked for. */
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  DeepReadonly,
  EmbeddingRequest,
} from "../protocol/openai.ts"
import { binderOf } from "./binder.ts"
import type { Awaitable, TransformContext } from "./contract.ts"
import type { PluginInstance } from "./instance.ts"
import type { PluginPoint, PointBook, ResultCheck } from "./point.ts"
import { A_BOOLEAN, A_CHUNK, A_COMPLETION, A_REQUEST, AN_EMBEDDING_REQUEST } from "./results.ts"

type TransformPoint<V, R = void> = PluginPoint<
  [DeepReadonly<V>, TransformContext],
  DeepReadonly<V> | R | void
>

/** In the order in which they run. */
export interface BoundTransforms {
  readonly request: readonly TransformPoint<ChatRequest>[]
  readonly embeddingRequest: readonly TransformPoint<EmbeddingRequest>[]
  readonly response: readonly TransformPoint<ChatCompletion>[]
  readonly chunk: readonly TransformPoint<ChatCompletionChunk, null>[]
}

type Transform = PluginInstance<"transform">

export function bindTransforms(instances: readonly Transform[], book: PointBook): BoundTransforms {
  const chat = instances.map((instance) => askedFor(instance, "openai-chat", book))
  const embeddings = instances.map((instance) => askedFor(instance, "openai-embeddings", book))
  const outward = chat.toReversed()
  return {
    request: chat.flatMap(({ inward, abilities }) =>
      inward("transform.transformRequest", A_REQUEST, abilities.transformRequest),
    ),
    embeddingRequest: embeddings.flatMap(({ inward, abilities }) =>
      inward(
        "transform.transformEmbeddingRequest",
        AN_EMBEDDING_REQUEST,
        abilities.transformEmbeddingRequest,
      ),
    ),
    response: outward.flatMap(({ bind, abilities }) =>
      bind("transform.transformResponse", A_COMPLETION, abilities.transformResponse),
    ),
    chunk: outward.flatMap(({ bind, abilities }) =>
      bind("transform.transformChunk", A_CHUNK, abilities.transformChunk),
    ),
  }
}

/** One transform and one format. */
function askedFor(instance: Transform, format: string, book: PointBook) {
  const { abilities } = instance
  const support = supportOf(instance, format)
  const toPoint = binderOf(instance, book)
  // Whoever judges the plugin may switch it off, and so make the next snapshot: not before this one is in place.
  if (support instanceof Function && instance.failurePolicy !== "closed") {
    const failed = binderOf(instance, book, "observer")(SUPPORT, A_BOOLEAN, support)
    setImmediate(() => void failed.call())
  }
  return { abilities, bind, inward }

  function bind<A extends unknown[], R>(
    name: string,
    result: ResultCheck,
    fn: ((...args: A) => Awaitable<R>) | undefined,
  ): PluginPoint<A, R>[] {
    if (support !== true || fn === undefined) return []
    return [toPoint(name, result, fn)]
  }

  /** One that cannot say what it supports must not be passed over where it is to fail closed: it fails each request. */
  function inward<A extends unknown[], R>(
    name: string,
    result: ResultCheck,
    fn: ((...args: A) => Awaitable<R>) | undefined,
  ): PluginPoint<A, R>[] {
    const isGuard = support instanceof Function && instance.failurePolicy === "closed"
    return isGuard ? [toPoint<A, R>(SUPPORT, result, support)] : bind(name, result, fn)
  }
}

const SUPPORT = "transform.supportsFormat"

/** What a transform says; a function that throws where it fails to say. */
function supportOf(instance: Transform, format: string): boolean | (() => never) {
  const { abilities } = instance
  try {
    const answer: unknown = instance.run(() => abilities.supportsFormat(format))
    if (typeof answer === "boolean") return answer
    throw new Error(`returned ${typeof answer}, expected ${A_BOOLEAN.expected}`)
  } catch (thrown) {
    return () => {
      throw thrown
    }
  }
}
