/**
 * The plain-data forms of what plugins are given and return. An argument with live parts (headers, a signal, a map of
 * values) is taken apart here and put together in the worker; what the plugin did to those parts travels back with
 * its result and is done again in the gateway.
 */
import { type ErrorCode, type ErrorOptions, GatewayError } from "../errors.ts"

export type WireError =
  | {
      readonly kind: "gateway"
      readonly code: ErrorCode
      readonly message: string
      readonly stack: string | undefined
      readonly options: Omit<ErrorOptions, "cause">
      readonly cause: WireError | undefined
    }
  | {
      readonly kind: "error"
      readonly name: string
      readonly message: string
      readonly stack: string | undefined
    }
  | { readonly kind: "value"; readonly value: unknown }

type HeaderList = readonly (readonly [string, string])[]

export interface WireResponse {
  readonly kind: "response"
  readonly status: number
  readonly statusText: string
  readonly headers: HeaderList
  /** `held`: the body stays in the gateway, because it is still being streamed. */
  readonly body: Uint8Array<ArrayBuffer> | { readonly text: string } | "held" | undefined
}

export type Wire =
  | { readonly kind: "plain"; readonly value: unknown; readonly isFrozen: boolean }
  | { readonly kind: "object"; readonly fields: Readonly<Record<string, Wire>>; readonly isFrozen: boolean }
  | { readonly kind: "headers"; readonly list: HeaderList }
  | { readonly kind: "map"; readonly entries: readonly (readonly [unknown, unknown])[] }
  | { readonly kind: "signal"; readonly reason: WireError | undefined }
  | { readonly kind: "setHeader" }
  | { readonly kind: "error"; readonly error: WireError }
  /** Reading this field throws. */
  | { readonly kind: "throws"; readonly error: WireError }
  /** The argument of this number itself. */
  | { readonly kind: "argument"; readonly index: number }
  | WireResponse

/** What a plugin did to the live parts of one argument. */
export interface Effects {
  readonly argument: number
  /** Undefined: the headers of the argument itself, which is a Response. */
  readonly field: string | undefined
  readonly done:
    | { readonly kind: "headers"; readonly list: HeaderList }
    | { readonly kind: "map"; readonly steps: readonly MapStep[] }
    | { readonly kind: "setHeader"; readonly list: HeaderList }
}

export type MapStep = readonly ["set", unknown, unknown] | readonly ["delete", unknown] | readonly ["clear"]

// ---------------------------------------------------------------------------------------------------
// Errors

export function packError(thrown: unknown): WireError {
  if (thrown instanceof GatewayError) {
    const { code, message, stack, status, param, retryAfterMs, headers, details, cause } = thrown
    const options = {
      status,
      ...(param !== undefined && { param }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...(headers !== undefined && { headers }),
      ...(details !== undefined && { details: cloneable(details) }),
    }
    return {
      kind: "gateway",
      code,
      message,
      stack,
      options,
      cause: cause === undefined ? undefined : packError(cause),
    }
  }
  if (thrown instanceof Error) {
    const { name, message, stack } = thrown
    return { kind: "error", name: String(name), message: String(message), stack }
  }
  return { kind: "value", value: cloneable(thrown) }
}

export function unpackError(wire: WireError): unknown {
  if (wire.kind === "value") return wire.value
  const error = wire.kind === "error" ? namedError(wire) : gatewayError(wire)
  if (wire.stack !== undefined) error.stack = wire.stack
  return error
}

function namedError({ name, message }: Extract<WireError, { kind: "error" }>): Error {
  const error = new Error(message)
  if (name !== "Error") error.name = name
  return error
}

function gatewayError({ code, message, options, cause }: Extract<WireError, { kind: "gateway" }>): Error {
  return new GatewayError(code, message, {
    ...options,
    ...(cause !== undefined && { cause: unpackError(cause) }),
  })
}

/** The value where it can be sent, else what it looks like. */
function cloneable(value: unknown): unknown {
  try {
    return structuredClone(value)
  } catch {
    return String(value)
  }
}

// ---------------------------------------------------------------------------------------------------
// Arguments, on their way to the worker

export interface PackedArguments {
  readonly wires: readonly Wire[]
  /** Aborting one of them aborts the call. */
  readonly signals: readonly AbortSignal[]
}

/** @throws whatever reading a body throws; a field that throws when it is read throws in the worker too */
export async function packArguments(args: readonly unknown[]): Promise<PackedArguments> {
  const signals = new Set<AbortSignal>()
  const wires: Wire[] = []
  for (const arg of args) {
    wires.push(arg instanceof Response ? await packResponse(arg) : packArgument(arg, signals))
  }
  return { wires, signals: [...signals] }
}

function packArgument(arg: unknown, signals: Set<AbortSignal>): Wire {
  const live = packLive(arg, signals)
  if (live !== undefined) return live
  if (typeof arg !== "object" || arg === null || isData(arg)) return plain(arg)
  const fields: Record<string, Wire> = Object.create(null)
  for (const name of fieldNames(arg)) {
    const field = packField(arg, name, signals)
    if (field !== undefined) fields[name] = field
  }
  return { kind: "object", fields, isFrozen: Object.isFrozen(arg) }
}

function packField(owner: object, name: string, signals: Set<AbortSignal>): Wire | undefined {
  let value: unknown
  try {
    value = Reflect.get(owner, name, owner)
  } catch (thrown) {
    return { kind: "throws", error: packError(thrown) }
  }
  if (typeof value === "function") return name === "setHeader" ? { kind: "setHeader" } : undefined
  return packLive(value, signals) ?? plain(value)
}

function packLive(value: unknown, signals: Set<AbortSignal>): Wire | undefined {
  if (typeof value !== "object" || value === null) return undefined
  if (value instanceof Headers) return { kind: "headers", list: [...value] }
  if (value instanceof Error) return { kind: "error", error: packError(value) }
  if (value instanceof Map) return { kind: "map", entries: [...value].filter(isSendable) }
  if (!(value instanceof AbortSignal)) return undefined
  signals.add(value)
  return { kind: "signal", reason: value.aborted ? packError(value.reason) : undefined }
}

const plain = (value: unknown): Wire => ({ kind: "plain", value, isFrozen: Object.isFrozen(value) })

/** What an inline plugin left in the map may be anything; what cannot be sent is not there for the worker. */
function isSendable(entry: readonly [unknown, unknown]): boolean {
  try {
    structuredClone(entry)
    return true
  } catch {
    return false
  }
}

/** Lists and bytes have no live parts. */
function isData(value: object): boolean {
  return Array.isArray(value) || ArrayBuffer.isView(value)
}

/** Its own fields, and the accessors of its class. */
function fieldNames(subject: object): Set<string> {
  const names = new Set(Object.keys(subject))
  let prototype: object | null = Object.getPrototypeOf(subject)
  while (prototype !== null && prototype !== Object.prototype) {
    for (const [name, { get }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (get !== undefined) names.add(name)
    }
    prototype = Object.getPrototypeOf(prototype)
  }
  return names
}

async function packResponse(response: Response): Promise<WireResponse> {
  const { status, statusText, headers } = response
  const head = { kind: "response", status, statusText, headers: [...headers] } as const
  if (isStreamed(response)) return { ...head, body: "held" }
  if (response.bodyUsed) return { ...head, body: undefined }
  // Its `body` is not looked at: that would make a stream of it.
  const bytes = new Uint8Array(await response.clone().arrayBuffer())
  return { ...head, body: bytes.length === 0 ? undefined : bytes }
}

function isStreamed({ headers }: Response): boolean {
  return (headers.get("content-type") ?? "").startsWith("text/event-stream")
}

// ---------------------------------------------------------------------------------------------------
// Results, on their way back

/**
 * @param held stands in an argument for a body that stayed in the gateway
 * @throws where the result holds something that cannot be sent, or its body cannot be read
 */
export async function packResult(
  result: unknown,
  { args, held }: { readonly args: readonly unknown[]; readonly held: ReadableStream | undefined },
): Promise<Wire> {
  const index = typeof result === "object" && result !== null ? args.indexOf(result) : -1
  if (index >= 0) return { kind: "argument", index }
  if (!(result instanceof Response)) return { kind: "plain", value: result, isFrozen: false }
  const { status, statusText, headers } = result
  const head = { kind: "response", status, statusText, headers: [...headers] } as const
  if (result.body === null) return { ...head, body: undefined }
  if (held !== undefined && result.body === held) return { ...head, body: "held" }
  const bytes = new Uint8Array(await result.arrayBuffer())
  const text = headers.has("content-type") ? undefined : textOf(bytes)
  return { ...head, body: text === undefined ? bytes : { text } }
}

/** A text without a type is sent as one, and bytes as bytes; nothing tells any more which of them it was. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

export function unpackResult(wire: Wire, args: readonly unknown[]): unknown {
  if (wire.kind === "plain") return wire.value
  if (wire.kind === "argument") return args[wire.index]
  if (wire.kind !== "response") throw new Error(`a worker cannot return ${wire.kind}`)
  const { status, statusText, headers } = wire
  const init = { status, statusText, headers: listOf(headers) }
  const original = args.find((arg) => arg instanceof Response)
  return new Response(
    bodyOf(wire, () => original?.body ?? null),
    init,
  )
}

/** @param held gives what stands for a body that is not here */
export function bodyOf(
  { body }: WireResponse,
  held: () => ReadableStream | null,
): ReadableStream | Uint8Array<ArrayBuffer> | string | null {
  if (body === "held") return held()
  if (body === undefined) return null
  return "text" in body ? body.text : body
}

/** Does in the gateway what the plugin did to its arguments in the worker. */
export function applyEffects(effects: readonly Effects[], args: readonly unknown[]): void {
  for (const { argument, field, done } of effects) {
    const owner = args[argument] as Record<string, unknown>
    const part = field === undefined ? (owner as { headers?: unknown }).headers : owner[field]
    if (done.kind === "setHeader") for (const [name, value] of done.list) callSetHeader(owner, name, value)
    else if (done.kind === "headers" && part instanceof Headers) replaceHeaders(part, done.list)
    else if (done.kind === "map" && part instanceof Map) for (const step of done.steps) replay(part, step)
  }
}

function callSetHeader(owner: Record<string, unknown>, name: string, value: string): void {
  const { setHeader } = owner
  if (typeof setHeader === "function") setHeader.call(owner, name, value)
}

function replaceHeaders(headers: Headers, list: HeaderList): void {
  for (const name of [...headers.keys()]) headers.delete(name)
  for (const [name, value] of list) headers.append(name, value)
}

function replay(map: Map<unknown, unknown>, step: MapStep): void {
  if (step[0] === "set") map.set(step[1], step[2])
  else if (step[0] === "delete") map.delete(step[1])
  else map.clear()
}

export const listOf = (list: HeaderList): [string, string][] => list.map(([name, value]) => [name, value])
