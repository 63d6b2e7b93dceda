/** Puts the arguments of a call together in the worker, and notes what the plugin does to their live parts. */
import { deepFreeze } from "./deep-freeze.ts"
import type { Effects, MapStep, Wire, WireResponse } from "./worker-wire.ts"
import { bodyOf, listOf, unpackError } from "./worker-wire.ts"

export interface UnpackedArguments {
  readonly args: readonly unknown[]
  /** Stands for a body that stayed in the gateway. */
  readonly held: ReadableStream | undefined
  /** What was done to them so far. */
  effects(): readonly Effects[]
}

type Look = () => Effects | undefined

/** @param signal of the call: it stands for every signal among the arguments */
export function unpackArguments(wires: readonly Wire[], signal: () => AbortSignal): UnpackedArguments {
  const looks: Look[] = []
  let held: ReadableStream | undefined
  const args = wires.map((wire, argument) => {
    if (wire.kind === "response") {
      const response = watchedResponse(wire, argument, looks)
      if (wire.body === "held" && response.body !== null) held = response.body
      return response
    }
    if (wire.kind !== "object") return part(wire, { argument, field: undefined, looks, signal })
    const object: Record<string, unknown> = {}
    for (const [field, inner] of Object.entries(wire.fields)) {
      Object.defineProperty(object, field, property(inner, { argument, field, looks, signal }))
    }
    return wire.isFrozen ? Object.freeze(object) : object
  })
  return { args, held, effects: () => looks.flatMap((look) => look() ?? []) }
}

interface Place {
  readonly argument: number
  readonly field: string | undefined
  readonly looks: Look[]
  readonly signal: () => AbortSignal
}

function property(wire: Wire, place: Place): PropertyDescriptor {
  const shape = { enumerable: true, configurable: true }
  if (wire.kind === "signal") return { ...shape, get: place.signal }
  if (wire.kind !== "throws") return { ...shape, value: part(wire, place), writable: true }
  return {
    ...shape,
    get() {
      throw unpackError(wire.error)
    },
  }
}

function part(wire: Wire, place: Place): unknown {
  const { argument, field } = place
  switch (wire.kind) {
    case "plain":
      return wire.isFrozen ? deepFreeze(wire.value) : wire.value
    case "signal":
      return place.signal()
    case "error":
    case "throws":
      return unpackError(wire.error)
    case "headers": {
      const headers = new Headers(listOf(wire.list))
      place.looks.push(headersLook(headers, { argument, field }))
      return headers
    }
    case "map": {
      const map = new NotedMap(wire.entries)
      place.looks.push(() =>
        map.steps.length === 0 ? undefined : { argument, field, done: { kind: "map", steps: map.steps } },
      )
      return map
    }
    case "setHeader": {
      const list: [string, string][] = []
      place.looks.push(() =>
        list.length === 0 ? undefined : { argument, field, done: { kind: "setHeader", list } },
      )
      return (name: string, value: string) => void list.push([String(name), String(value)])
    }
    default:
      throw new Error(`a field cannot be ${wire.kind}`)
  }
}

function watchedResponse(wire: WireResponse, argument: number, looks: Look[]): Response {
  const { status, statusText, headers } = wire
  // An empty stream stands for a body that stays in the gateway, so that it is known again in a new Response.
  const stand = () => new ReadableStream({ start: (controller) => controller.close() })
  const response = new Response(bodyOf(wire, stand), { status, statusText, headers: listOf(headers) })
  looks.push(headersLook(response.headers, { argument, field: undefined }))
  return response
}

function headersLook(headers: Headers, place: Pick<Effects, "argument" | "field">): Look {
  const before = JSON.stringify([...headers])
  return () => {
    const list = [...headers]
    return JSON.stringify(list) === before ? undefined : { ...place, done: { kind: "headers", list } }
  }
}

/** A map that notes how it is changed. */
class NotedMap extends Map<unknown, unknown> {
  readonly steps: MapStep[] = []

  constructor(entries: readonly (readonly [unknown, unknown])[]) {
    super()
    for (const [key, value] of entries) super.set(key, value)
  }

  override set(key: unknown, value: unknown): this {
    this.steps.push(["set", key, value])
    return super.set(key, value)
  }

  override delete(key: unknown): boolean {
    this.steps.push(["delete", key])
    return super.delete(key)
  }

  override clear(): void {
    this.steps.push(["clear"])
    super.clear()
  }
}
