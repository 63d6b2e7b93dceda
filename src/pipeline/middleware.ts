/** The middlewares of one request: in by priority, out in reverse, and out only for those that went in. */
import type { GatewayError } from "../errors.ts"
import type { BoundMiddleware } from "../plugin/bindings.ts"
import type { MiddlewareContext } from "../plugin/contract.ts"

export class MiddlewareRun {
  readonly #middlewares: readonly BoundMiddleware[]
  readonly #context: MiddlewareContext
  /** How many went in. */
  #entered = 0

  constructor(middlewares: readonly BoundMiddleware[], context: MiddlewareContext) {
    this.#middlewares = middlewares
    // The middlewares of a request share it; what they may leave for each other goes into `values`.
    this.#context = Object.freeze(context)
  }

  /**
   * @returns the reply of a middleware that ended the request, if one did
   * @throws GatewayError with which a middleware rejected it
   */
  async before(): Promise<Response | undefined> {
    for (const middleware of this.#middlewares) {
      this.#entered++
      const reply = await middleware.beforeHandle?.call(this.#context)
      if (reply instanceof Response) return reply
    }
    return undefined
  }

  async after(response: Response): Promise<Response> {
    let current = response
    for (const middleware of this.#wayOut()) {
      const replaced = await middleware.afterHandle?.call(this.#context, current)
      if (replaced instanceof Response) current = replaced
    }
    return current
  }

  /** @returns a reply in place of the error body, if a middleware gave one */
  async failed(error: GatewayError): Promise<Response | undefined> {
    let reply: Response | undefined
    for (const middleware of this.#wayOut()) {
      reply = (await middleware.onError?.call(this.#context, error)) || reply
    }
    return reply
  }

  #wayOut(): readonly BoundMiddleware[] {
    return this.#middlewares.slice(0, this.#entered).reverse()
  }
}
