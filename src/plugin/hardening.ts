/**
 * Plugins share the global objects of their thread with the gateway and with each other. This shuts the doors through
 * which one would break the others by mistake; it keeps nobody out who means harm.
 */
import { GatewayError } from "../errors.ts"
import { HOOK_KINDS, HOOK_NAMES, PLUGIN_TYPES } from "./contract.ts"

/** Once for each thread, before any plugin is loaded. */
export function hardenGlobals(): void {
  // A field that is added here appears on every object: `status` alone would change every reply. Not frozen: then no
  // object could have a `toString` of its own any more.
  Object.preventExtensions(Object.prototype)
  for (const shared of SHARED) Object.freeze(shared)
  // A reply that is an instance of another class is none to the gateway. `fetch` may be replaced, to trace it: the
  // gateway has its own.
  for (const name of CLASSES) {
    Object.defineProperty(globalThis, name, { value: Reflect.get(globalThis, name), writable: false })
  }
}

const CLASSES = [
  "Response",
  "Request",
  "Headers",
  "ReadableStream",
  "AbortController",
  "AbortSignal",
  "URL",
  "TextEncoder",
  "TextDecoder",
] as const

const SHARED: readonly object[] = [
  JSON,
  GatewayError,
  GatewayError.prototype,
  PLUGIN_TYPES,
  HOOK_NAMES,
  HOOK_KINDS,
]
