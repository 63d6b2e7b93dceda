/** The transforms of a call: requests by priority, replies the other way round. */
import type { TransformContext } from "../plugin/contract.ts"
import { CallContext } from "../plugin/point.ts"
import { harden } from "../protocol/harden.ts"
import type { ChatCompletion, ChatCompletionChunk, DeepReadonly } from "../protocol/openai.ts"
import type { Call } from "./call.ts"

/** @throws GatewayError with which a transform rejected the call, or `invalid_request` for what it made of it */
export async function transformRequest(call: Call): Promise<void> {
  const { transforms } = call.input.snapshot
  if (call.body.operation === "chat") {
    for (const point of transforms.request) {
      const changed = await point.call(routed(call, call.body.object()), contextOf(call))
      if (changed) call.change({ request: changed })
    }
  } else {
    for (const point of transforms.embeddingRequest) {
      const changed = await point.call(routed(call, call.body.object()), contextOf(call))
      if (changed) call.change({ request: changed })
    }
  }
}

/** Returns undefined where nothing was changed. */
export async function transformCompletion(
  call: Call,
  completion: ChatCompletion,
): Promise<ChatCompletion | undefined> {
  if (call.input.snapshot.transforms.response.length === 0) return undefined
  harden(completion)
  let current: DeepReadonly<ChatCompletion> | undefined
  for (const point of call.input.snapshot.transforms.response) {
    current = (await point.call(current ?? completion, contextOf(call))) || current
  }
  // Nobody writes to it: what follows makes copies.
  return current as ChatCompletion | undefined
}

/** Returns undefined for a chunk that is not to be sent. */
export async function transformChunk(
  call: Call,
  chunk: ChatCompletionChunk,
): Promise<ChatCompletionChunk | undefined> {
  let current: DeepReadonly<ChatCompletionChunk> = chunk
  for (const point of call.input.snapshot.transforms.chunk) {
    const result = await point.call(current, contextOf(call))
    if (result === null) return undefined
    if (result !== undefined) current = result
  }
  return current as ChatCompletionChunk
}

/** The request with the model that it will be routed by. */
function routed<T extends { readonly model: string }>({ model }: Call, request: T): T {
  return request.model === model ? request : Object.freeze({ ...request, model })
}

function contextOf(call: Call): TransformContext {
  return Object.assign(new CallContext(call.input.signal), call.event(), { values: call.values })
}
