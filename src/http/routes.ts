/** The lifecycle that all routes share: it works on the exchange, and ends every request that it began. */
import { Elysia } from "elysia"
import type { Exchange } from "./exchange.ts"

/**
 * Routes that middlewares see. Who uses them admits the exchange first: in an `onBeforeHandle` that is written
 * `return f(…)`, by which Elysia, which reads the source, knows that it has to await.
 */
export function sharedRoutes<const N extends string>(name: N) {
  return exchangeRoutes(name).onAfterHandle(function leaveMiddlewares({ exchange, responseValue }) {
    return exchange.leave(responseValue as Response)
  })
}

/** Routes of the gateway's own that no plugin sees, so that no plugin can lock an operator out. */
export function ownRoutes<const N extends string>(name: N) {
  return exchangeRoutes(name).onBeforeHandle(function enter({ exchange, route }) {
    exchange.enterOwn(route)
  })
}

function exchangeRoutes<const N extends string>(name: N) {
  return new Elysia({ name }).decorate("exchange", null as unknown as Exchange).mapResponse(function finish({
    exchange,
    responseValue,
  }) {
    const response = exchange.stamp(responseValue as Response)
    exchange.replied(response.status)
    return response
  })
}
