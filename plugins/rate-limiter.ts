/** Counts each client's requests in fixed windows and refuses those above a limit. */
import { type CounterValue, definePlugin, GatewayError, type MiddlewareContext, Type } from "leapgate/plugin"

export default definePlugin({
  name: "rate-limiter",
  version: "1.0.0",
  type: "middleware",
  description: "Fixed-window request limit for each client",
  metadata: { tags: ["limits"] },
  config: Type.Object({
    max_requests: Type.Integer({ minimum: 1, default: 100, description: "In each window" }),
    window: Type.Duration({ default: "1m" }),
    identifier: Type.Union([Type.Literal("ip"), Type.Literal("api_key"), Type.Literal("user_id")], {
      default: "ip",
      description: "Who a client is. Callers without a key or user count by address",
    }),
    routes: Type.Array(Type.String(), { default: ["/v1/*", "/api/*"] }),
  }),

  setup({ config, state }) {
    const { identifier, max_requests: limit, window: windowMs } = config
    if (windowMs < 1) {
      throw new GatewayError("plugin_config_invalid", 'rate-limiter: window must be at least "1ms"')
    }

    return {
      priority: 80,
      routes: config.routes,
      // Not async: where counts are in memory, the request need not wait a turn.
      beforeHandle(context) {
        const counted = state.increment(clientOf(context), { ttlMs: windowMs })
        return counted instanceof Promise
          ? counted.then((counter) => judge(context, counter))
          : judge(context, counted)
      },
    }

    function judge(context: MiddlewareContext, { value, expiresAtMs }: CounterValue): void {
      const resetSeconds = Math.ceil(expiresAtMs / 1000)
      context.setHeader("X-RateLimit-Limit", String(limit))
      context.setHeader("X-RateLimit-Remaining", String(Math.max(0, limit - value)))
      context.setHeader("X-RateLimit-Reset", String(resetSeconds))
      if (value <= limit) return

      const retryAfterMs = Math.max(0, expiresAtMs - Date.now())
      const retryAfterSeconds = Math.ceil(retryAfterMs / 1000)
      throw new GatewayError(
        "rate_limit_exceeded",
        `more than ${limit} requests in ${windowMs / 1000} s; try again in ${retryAfterSeconds} s`,
        { retryAfterMs, details: { retry_after: retryAfterSeconds, limit, reset: resetSeconds } },
      )
    }

    /** Only what authentication has established counts; a header could be made up. */
    function clientOf({ principal, clientIp }: MiddlewareContext): string {
      if (identifier === "user_id" && principal.userId !== undefined) return `user:${principal.userId}`
      if (identifier !== "ip" && principal.via !== "anonymous") return `key:${principal.name}`
      return `ip:${clientIp}`
    }
  },
})
