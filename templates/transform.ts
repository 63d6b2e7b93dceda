/** Gives every request an upper limit of tokens, and signs every reply. */
import { definePlugin, Type } from "leapgate/plugin"

export default definePlugin({
  name: "template-transform",
  version: "1.0.0",
  type: "transform",
  description: "Limits tokens, and signs replies",
  config: Type.Object({
    max_tokens: Type.Integer({ minimum: 1, default: 1024 }),
    signature: Type.String({ default: "" }),
  }),

  // A transform fails closed: a request that it cannot rewrite is not sent.
  setup: ({ config }) => ({
    // Asked once for each format of the gateway.
    supportsFormat: (format) => format === "openai-chat",

    // Requests and replies are frozen: return a changed copy, or nothing to leave them as they are.
    transformRequest(request) {
      if ((request.max_tokens ?? 0) > 0 && Number(request.max_tokens) <= config.max_tokens) return
      return { ...request, max_tokens: config.max_tokens }
    },

    transformResponse(response) {
      if (config.signature === "") return
      const choices = response.choices.map((choice) => {
        const { message } = choice
        return { ...choice, message: { ...message, content: `${message.content ?? ""}${config.signature}` } }
      })
      return { ...response, choices }
    },

    // Of a stream, chunk by chunk; null drops one. The last chunk of a choice says why it ends.
    transformChunk(chunk) {
      if (config.signature === "") return
      const choices = chunk.choices.map((choice) => {
        const { delta, finish_reason: reason } = choice
        return reason === "stop" ? { ...choice, delta: { ...delta, content: config.signature } } : choice
      })
      return { ...chunk, choices }
    },
  }),
})
