/** What a plugin's own route answered, on its way to the client. */
import { GatewayError, messageOf } from "../errors.ts"
import type { PluginInstance } from "../plugin/instance.ts"
import type { Exchange } from "./exchange.ts"

interface Sender {
  readonly exchange: Exchange
  readonly instance: PluginInstance
}

/**
 * A reply with the plugin's status, headers and body. One that is whole at once is sent whole; of any other the
 * exchange, and with it the plugin, is held until the body has ended, has failed, or the client has left.
 */
export async function passOn(response: Response, sender: Sender): Promise<Response> {
  const { status, statusText, body } = response
  const headers = new Headers(response.headers)
  for (const name of OF_THE_CONNECTION) headers.delete(name)
  const isHead = sender.exchange.request.method === "HEAD"
  if (body === null || isHead || WITHOUT_BODY.includes(status)) {
    void body?.cancel().catch(() => {})
    return new Response(null, { status, statusText, headers })
  }
  headers.delete("content-length")
  const reader: Reader = body.getReader()
  const start = sender.instance.run(() => reader.read())
  const next = sender.instance.run(() => reader.read())
  next.catch(() => {})
  await new Promise<void>((resolve) => setImmediate(resolve))
  const whole = wholeOf(start, next)
  if (whole !== undefined) return new Response(whole, { status, statusText, headers })
  return new Response(heldStream(reader, [start, next], sender), { status, statusText, headers })
}

/** Statuses that come without a body. Source: https://fetch.spec.whatwg.org/#null-body-status */
const WITHOUT_BODY: readonly number[] = [204, 205, 304]
/** Said by one server about its own connection; the gateway's is another. */
const OF_THE_CONNECTION = ["connection", "keep-alive", "transfer-encoding", "upgrade"]

type Bytes = Uint8Array<ArrayBuffer>
type Controller = ReadableStreamDefaultController<Bytes>
type Read = { readonly done: boolean; readonly value?: Bytes | undefined }
type Reader = { read(): Promise<Read>; cancel(): Promise<void> }

/** The only piece of a body that has ended with it, without waiting. */
function wholeOf(start: Promise<Read>, next: Promise<Read>): Bytes | undefined {
  const first = settled(start)
  if (first?.done) return new Uint8Array()
  return settled(next)?.done ? first?.value : undefined
}

function settled(read: Promise<Read>): Read | undefined {
  const value = Bun.peek.status(read) === "fulfilled" ? Bun.peek(read) : undefined
  return value instanceof Promise ? undefined : value
}

/** The two reads that were made already come first. */
function heldStream(
  reader: Reader,
  made: Promise<Read>[],
  { exchange, instance }: Sender,
): ReadableStream<Bytes> {
  const { signal } = exchange.request
  let isOver = false
  exchange.holdForStream()
  let forget = () => {}
  return new ReadableStream({ start, pull, cancel: leave }, { highWaterMark: 0 })

  function start(controller: Controller): void {
    forget = instance.onGone((reason) => fail(controller, reason))
    signal.addEventListener("abort", leave, { once: true })
    if (signal.aborted) leave()
  }

  async function pull(controller: Controller): Promise<void> {
    try {
      const { value } = await (made.shift() ?? instance.run(() => reader.read()))
      if (isOver) return
      if (value !== undefined) return controller.enqueue(value)
      end()
      controller.close()
    } catch (thrown) {
      if (isOver) return
      instance.failed(`fetch: the body of its reply broke off: ${messageOf(thrown)}`, "error")
      fail(controller, thrown)
    }
  }

  /** The status was sent long ago: a connection that is cut tells the client that something is missing. */
  function fail(controller: Controller, cause: unknown): void {
    if (isOver) return
    end()
    controller.error(
      new GatewayError("plugin_failed", `the reply of plugin "${instance.name}" broke off`, { cause }),
    )
  }

  function leave(): void {
    if (isOver) return
    end()
    void cancelled(reader, instance)
  }

  function end(): void {
    isOver = true
    forget()
    signal.removeEventListener("abort", leave)
    exchange.streamEnded()
  }
}

async function cancelled(reader: Reader, instance: PluginInstance): Promise<void> {
  try {
    await instance.run(() => reader.cancel())
  } catch {
    // Nobody is left to be told.
  }
}
