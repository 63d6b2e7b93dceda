import type { GatewayError } from "../errors.ts"
import { MiddlewareRun } from "../pipeline/middleware.ts"
import type { Awaitable, MiddlewareContext, Principal } from "../plugin/contract.ts"
import type { Histogram } from "../telemetry/store.ts"
import { TraceContext } from "../telemetry/traceparent.ts"
import { callerOf } from "./caller.ts"
import type { HttpDeps } from "./deps.ts"
import { guardHost, isLoopbackHost } from "./host-guard.ts"
import { ANONYMOUS } from "./key-ring.ts"
import type { View } from "./view.ts"

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/

/**
 * One HTTP request and its reply, from the first byte to the last. It pins the view that serves it; the pin
 * is given back when the reply was handed over and every stream of it has ended.
 */
export class Exchange {
  readonly requestId: string
  readonly view: View
  /** When the request came, on the monotonic clock. */
  readonly startMs: number
  readonly #request: Request
  readonly #deps: HttpDeps
  readonly #hasLoopbackHost: boolean
  #principal: Principal = ANONYMOUS
  #middlewares: MiddlewareRun | undefined
  #replyHeaders: [string, string][] | undefined
  #stamped: Response | undefined
  #trace: TraceContext | undefined
  #openStreams = 0
  #status: number | undefined
  #route = "unmatched"

  /** @throws GatewayError `invalid_host` */
  constructor(request: Request, deps: HttpDeps) {
    this.#request = request
    this.#deps = deps
    this.requestId = requestIdOf(request)
    this.#hasLoopbackHost = isLoopbackHost(guardHost(request))
    this.startMs = deps.clock.monotonic()
    this.view = deps.view()
    this.view.snapshot.retain()
    deps.activeRequests.add(1)
  }

  get request(): Request {
    return this.#request
  }

  /** Whether the request names this machine and does not say that a proxy passed it on. */
  get isLocal(): boolean {
    const { headers } = this.#request
    return this.#hasLoopbackHost && !headers.has("x-forwarded-for") && !headers.has("forwarded")
  }

  traceId(): string {
    this.#trace ??= new TraceContext(this.#request.headers.get("traceparent"))
    return this.#trace.traceId
  }

  /** Who asks, once the request was admitted. */
  get principal(): Principal {
    return this.#principal
  }

  /** The path as it was sent, without the query. */
  get path(): string {
    return pathOf(this.#request.url)
  }

  /** The address of the peer. */
  get clientIp(): string {
    return this.#deps.peerOf(this.#request)
  }

  /**
   * Finds out who asks, then runs the middlewares of this path. Gives a promise only where a plugin has to be asked.
   * @returns the reply of a middleware that ended the request
   * @throws GatewayError why the caller is not served
   */
  admit(
    route: string,
    identify: (exchange: Exchange, deps: HttpDeps) => Awaitable<Principal> = callerOf,
  ): Promise<Response | undefined> | undefined {
    this.#route = route
    this.#tellStart()
    const caller = identify(this, this.#deps)
    if (caller instanceof Promise) return caller.then((principal) => this.#enter(principal))
    return this.#enter(caller)
  }

  #enter(principal: Principal): Promise<Response | undefined> | undefined {
    this.#principal = principal
    if (!this.view.snapshot.hasMiddlewares) return undefined
    const { path } = this
    const middlewares = this.view.snapshot.middlewaresFor(path)
    if (middlewares.length === 0) return undefined
    this.#middlewares = new MiddlewareRun(middlewares, this.#middlewareContext(path))
    return this.#middlewares.before()
  }

  #tellStart(): void {
    const { monitors } = this.view.snapshot
    if (!monitors.wantTraces) return
    const { requestId, startMs } = this
    const name = `${this.#request.method} ${this.#route}`
    monitors.traceStarted({ traceId: this.traceId(), requestId, name, startMs })
  }

  /** For routes that plugins have no say in. */
  enterOwn(route: string): void {
    this.#route = route
  }

  leave(response: Response): Promise<Response> | Response {
    return this.#middlewares === undefined ? response : this.#leaveThrough(this.#middlewares, response)
  }

  failed(error: GatewayError): Promise<Response | undefined> | undefined {
    return this.#middlewares?.failed(error)
  }

  /** A reply that has its id from the start: to set a header later costs more than all of these. */
  reply(body: Uint8Array<ArrayBuffer> | ReadableStream, headers: Readonly<Record<string, string>>): Response {
    this.#stamped = new Response(body, { headers: { ...headers, "x-request-id": this.requestId } })
    return this.#stamped
  }

  /** Puts the id and the headers that middlewares set on a reply. */
  stamp(response: Response): Response {
    if (response !== this.#stamped) response.headers.set("x-request-id", this.requestId)
    for (const [name, value] of this.#replyHeaders ?? []) response.headers.set(name, value)
    return response
  }

  holdForStream(): void {
    this.#openStreams++
  }

  readonly streamEnded = (): void => {
    this.#openStreams--
    this.#finishIfOver()
  }

  /** The reply was handed over. */
  replied(status: number): void {
    if (this.#status !== undefined) return
    this.#status = status
    this.#finishIfOver()
  }

  #finishIfOver(): void {
    if (this.#status === undefined || this.#openStreams > 0) return
    const elapsedMs = this.#deps.clock.monotonic() - this.startMs
    this.#duration(this.#status).record(elapsedMs / 1000)
    this.#deps.activeRequests.add(-1)
    this.view.snapshot.release()
  }

  #duration(status: number): Histogram {
    return this.#deps.metrics.histogram("http.server.request.duration", {
      "http.request.method": this.#request.method,
      "http.route": this.#route,
      "http.response.status_code": status,
    })
  }

  async #leaveThrough(middlewares: MiddlewareRun, response: Response): Promise<Response> {
    let left: Response | undefined
    try {
      left = await middlewares.after(response)
      return left
    } finally {
      // A middleware that put something else in place of a stream leaves nobody to read it.
      if (left !== response && this.#openStreams > 0) abandon(response, left)
    }
  }

  #middlewareContext(path: string): MiddlewareContext {
    const exchange = this
    const request = this.#request
    return {
      requestId: this.requestId,
      get traceId() {
        return exchange.traceId()
      },
      generation: this.view.snapshot.generation,
      method: request.method,
      path,
      headers: request.headers,
      get clientIp() {
        return exchange.clientIp
      },
      principal: this.#principal,
      signal: request.signal,
      setHeader(name, value) {
        exchange.#replyHeaders ??= []
        exchange.#replyHeaders.push([name, value])
      },
      values: new Map(),
    }
  }
}

/** Unless it goes on in another reply: a middleware may have put new headers around it. */
function abandon({ body }: Response, left: Response | undefined): void {
  if (body !== null && !body.locked && body !== left?.body) void body.cancel()
}

/** The caller's id where it is harmless in logs and headers, else a new one. */
export function requestIdOf(request: Request): string {
  const sent = request.headers.get("x-request-id")
  return sent !== null && REQUEST_ID.test(sent) ? sent : Bun.randomUUIDv7()
}

/** The path of an absolute URL, without the query. */
function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3)
  if (start < 0) return "/"
  const query = url.indexOf("?", start)
  return query < 0 ? url.slice(start) : url.slice(start, query)
}
