/** Refuses requests at night, and tells clients how long the day still lasts. */
import { definePlugin, GatewayError, Type } from "leapgate/plugin"

export default definePlugin({
  name: "template-middleware",
  version: "1.0.0",
  type: "middleware",
  description: "Serves at certain hours only",
  // The settings under plugins.configs.template-middleware.config: checked, with defaults, and typed in `setup`.
  config: Type.Object({
    opens: Type.Integer({ minimum: 0, maximum: 24, default: 0, description: "First hour of the day, UTC" }),
    closes: Type.Integer({
      minimum: 0,
      maximum: 24,
      default: 24,
      description: "Hour after the last one, UTC",
    }),
  }),

  // Runs once for every version that is loaded. What it opens, `onDispose` should close.
  setup({ config, log }) {
    return {
      // 0 to 100; higher runs first.
      priority: 60,
      // Nothing: every route of clients.
      routes: ["/v1/chat/completions"],
      beforeHandle({ principal, setHeader }) {
        const hour = new Date().getUTCHours()
        if (hour >= config.opens && hour < config.closes) {
          setHeader("x-open-hours-left", String(config.closes - hour))
          return
        }
        log.info("refused at night", { caller: principal.name, hour })
        // A GatewayError is how a plugin refuses on purpose; anything else that is thrown is a failure of the plugin.
        throw new GatewayError(
          "request_rejected",
          `open from ${config.opens} to ${config.closes} o'clock UTC`,
        )
      },
    }
  },
})
