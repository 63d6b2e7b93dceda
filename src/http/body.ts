import { GatewayError } from "../errors.ts"

/**
 * The whole body of a request as bytes.
 * @throws GatewayError `unsupported_media_type`, `body_too_large`, `client_closed_request`
 */
export async function readBody(request: Request, limitBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const { headers } = request
  const contentType = headers.get("content-type")
  // A browser sends other types across origins without asking first, so this also keeps foreign pages out.
  if (contentType === null || !isJson(contentType)) {
    throw new GatewayError(
      "unsupported_media_type",
      `the body must be sent with content-type: application/json${contentType === null ? "" : `, not ${contentType.slice(0, 100)}`}`,
    )
  }
  const declared = headers.get("content-length")
  if (declared !== null && Number(declared) > limitBytes) throw tooLarge(limitBytes)
  try {
    if (declared !== null) return new Uint8Array(await request.arrayBuffer())
    return await readUpTo(request, limitBytes)
  } catch (thrown) {
    if (thrown instanceof GatewayError) throw thrown
    throw new GatewayError("client_closed_request", "the connection closed before the whole body had come", {
      cause: thrown,
    })
  }
}

export interface BoundedBody {
  readonly stream: ReadableStream | null
  /** Why reading it failed, where that was the limit. */
  fault(): GatewayError | undefined
}

/**
 * A request's body for somebody else to read, of whatever type. Reading it fails above the limit.
 * @throws GatewayError `body_too_large` where its length is known
 */
export function boundedBody({ headers, body }: Request, limitBytes: number): BoundedBody {
  const declared = headers.get("content-length")
  if (declared !== null && Number(declared) > limitBytes) throw tooLarge(limitBytes)
  if (body === null || declared !== null) return { stream: body, fault: () => undefined }
  let sizeBytes = 0
  let fault: GatewayError | undefined
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, controller) {
      sizeBytes += piece.byteLength
      if (sizeBytes <= limitBytes) return controller.enqueue(piece)
      fault = tooLarge(limitBytes)
      controller.error(fault)
    },
  })
  return { stream: body.pipeThrough(counter), fault: () => fault }
}

/** A body of unknown length (chunked): read only as far as the limit. */
async function readUpTo(request: Request, limitBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = []
  let sizeBytes = 0
  for await (const piece of request.body ?? []) {
    sizeBytes += piece.byteLength
    if (sizeBytes > limitBytes) throw tooLarge(limitBytes)
    pieces.push(piece)
  }
  return new Uint8Array(Buffer.concat(pieces))
}

function isJson(contentType: string): boolean {
  const type = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? ""
  return type === "application/json" || type.endsWith("+json")
}

function tooLarge(limitBytes: number): GatewayError {
  return new GatewayError(
    "body_too_large",
    `the body is larger than ${limitBytes} bytes; send less, or raise server.body_limit`,
  )
}
