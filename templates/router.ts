/** Sends requests of certain callers to a provider of their own. */
import { definePlugin, Type } from "leapgate/plugin"

export default definePlugin({
  name: "template-router",
  version: "1.0.0",
  type: "router",
  description: "Chooses a provider by the caller's name",
  config: Type.Object({
    callers: Type.Record(Type.String(), Type.String(), {
      default: {},
      description: "Names of callers, and the provider or provider/model for each",
    }),
  }),

  setup({ config, log }) {
    return {
      // 0 to 100; higher is asked first.
      priority: 50,
      // Whether it wants to choose. Cheap questions belong here: it is asked for every request.
      routeRequest: ({ principal }) => principal.name in config.callers,
      // A name that does not exist is passed over; the other providers of the model stay behind it for failover.
      selectProvider({ principal, model }, available) {
        const choice = config.callers[principal.name]
        log.debug("chosen", { choice, model, available: available.map(({ name }) => name) })
        return choice
      },
    }
  },
})
