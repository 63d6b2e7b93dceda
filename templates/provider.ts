/** Answers by itself: counts the words of the last message. Replace `answer` by a call of your model. */
import { type ChatCompletionChunk, definePlugin, type ProviderCall, Type } from "leapgate/plugin"

export default definePlugin({
  name: "template-provider",
  version: "1.0.0",
  type: "provider",
  description: "Counts words",
  config: Type.Object({
    models: Type.Array(Type.String(), { default: ["word-count"], minItems: 1 }),
  }),

  setup: ({ config }) => ({
    // Clients reach them as `word-count`, as `template-provider/word-count`, or through an alias.
    models: config.models,

    // A `Response` of fetch can be returned as it is: hand it `call.body` and `call.signal`.
    // What is thrown is a failed attempt, so the gateway tries the next provider.
    chat(call) {
      const text = answer(call)
      if (call.stream) return streamed(call, text)
      return {
        ...head(call),
        object: "chat.completion",
        choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
      }
    },

    // What `cost_optimized` compares; null: not known.
    estimateCost: () => 0,
  }),
})

function answer({ request }: ProviderCall): string {
  const text = String(request.messages.at(-1)?.content ?? "")
  const words = text.split(/\s+/).filter((word) => word !== "")
  return `${words.length} words`
}

/** The gateway adds `data: [DONE]` itself; the last chunk has to have a reason to finish. */
async function* streamed(call: ProviderCall, text: string): AsyncGenerator<ChatCompletionChunk> {
  const base = { ...head(call), object: "chat.completion.chunk" } as const
  for (const piece of text.split(/(?<= )/)) {
    yield { ...base, choices: [{ index: 0, delta: { content: piece }, finish_reason: null }] }
  }
  yield { ...base, choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }
}

const head = ({ requestId, model }: ProviderCall) => ({
  id: `chatcmpl-${requestId}`,
  created: Math.floor(Date.now() / 1000),
  model,
})
