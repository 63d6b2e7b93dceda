import type { Awaitable, EmbedCall, ProviderCall } from "../plugin/contract.ts"
import type { AttemptCall, AttemptContext } from "./attempt-context.ts"
import type { RoutedProvider } from "./provider.ts"
import { receive, receiveEmbeddings, type UpstreamReply } from "./reply.ts"

/** One thing that providers do: how it is asked of them, and how what they return is read. */
export interface ProviderOperation<C extends AttemptCall> {
  readonly ask: (provider: RoutedProvider, call: C) => Awaitable<unknown>
  readonly receive: (reply: unknown, context: AttemptContext<C>) => Awaitable<UpstreamReply>
}

export const CHAT: ProviderOperation<ProviderCall> = {
  ask: (provider, call) => provider.chat(call),
  receive,
}

/** Providers without it are not tried. */
export const EMBEDDINGS: ProviderOperation<EmbedCall> = {
  ask: (provider, call) => provider.embed?.(call),
  receive: receiveEmbeddings,
}
