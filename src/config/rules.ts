/** What a schema cannot say: how the parts of a config fit together. They look at it before units are decoded. */

import { closest } from "../protocol/similar.ts"
import type { Problem } from "./faults.ts"
import { childOf, type Pointer, pathOf, valueAt } from "./pointer.ts"

export function ruleProblems(value: unknown): readonly Problem[] {
  return [
    ...duplicates(value, "/providers", "name"),
    ...duplicates(value, "/auth/keys", "name"),
    ...duplicates(value, "/auth/keys", "key"),
    ...unusableKeys(value),
    ...unusableProviderKeys(value),
    ...ownAliases(value),
    ...sharedListener(value),
    ...repeatedPackages(value),
  ]
}

/** Likely mistakes that may be none, since plugins can bring providers too. */
export function ruleWarnings(value: unknown): readonly Problem[] {
  const providers = listAt(value, "providers").map((provider) => String(valueAt(provider, "name")))
  if (providers.length === 0) return []
  return aliasTargets(value).flatMap(({ pointer, target }) => {
    const slash = target.indexOf("/")
    const provider = target.slice(0, Math.max(slash, 0))
    if (slash === -1 || providers.includes(provider)) return []
    const [meant] = closest(provider, providers)
    const hint =
      meant === undefined ? "unless a plugin brings it, it is never tried" : `did you mean "${meant}"?`
    return [{ pointer, message: `names the provider "${provider}", which is not in this file; ${hint}` }]
  })
}

function duplicates(value: unknown, list: Pointer, field: string): readonly Problem[] {
  const first = new Map<string, Pointer>()
  return listAt(value, ...list.split("/").slice(1)).flatMap((item, index) => {
    const pointer = childOf(childOf(list, index), field)
    const content = valueAt(item, field)
    if (typeof content !== "string" || content === "") return []
    const earlier = first.get(content)
    if (earlier === undefined) {
      first.set(content, pointer)
      return []
    }
    return [{ pointer, message: `is the same as ${pathOf(earlier)}; each must be different` }]
  })
}

const SENDABLE = /^[\x21-\x7e]*$/

function unusableKeys(value: unknown): readonly Problem[] {
  return listAt(value, "auth", "keys").flatMap((item, index) => {
    const key = valueAt(item, "key")
    if (typeof key !== "string") return []
    const pointer = childOf(childOf("/auth/keys", index), "key")
    if (key === "") return [{ pointer, message: "must not be empty" }]
    return SENDABLE.test(key) ? [] : [{ pointer, message: UNSENDABLE }]
  })
}

const UNSENDABLE = "holds a space, a line break or another character that no header can carry"

function unusableProviderKeys(value: unknown): readonly Problem[] {
  return listAt(value, "providers").flatMap((item, index) => {
    const key = valueAt(item, "api_key")
    if (typeof key !== "string" || SENDABLE.test(key)) return []
    return [{ pointer: childOf(childOf("/providers", index), "api_key"), message: UNSENDABLE }]
  })
}

function ownAliases(value: unknown): readonly Problem[] {
  return aliasTargets(value)
    .filter(({ alias, target }) => alias === target)
    .map(({ pointer }) => ({ pointer, message: 'is the alias itself; write "provider/model"' }))
}

function aliasTargets(value: unknown) {
  const models = valueAt(value, "models")
  if (typeof models !== "object" || models === null) return []
  return Object.keys(models).flatMap((alias) =>
    listAt(models, alias).flatMap((target, index) =>
      typeof target === "string"
        ? [{ alias, target, pointer: childOf(childOf("/models", alias), index) }]
        : [],
    ),
  )
}

function sharedListener(value: unknown): readonly Problem[] {
  const listen = valueAt(value, "admin", "listen")
  if (typeof listen !== "string" || listen === "") return []
  const colon = listen.lastIndexOf(":")
  const port = valueAt(value, "server", "port")
  if (port === 0 || port !== Number(listen.slice(colon + 1))) return []
  if (!overlap(listen.slice(0, colon), String(valueAt(value, "server", "host")))) return []
  const message =
    "is the address of the main listener; choose another port, or leave it empty to share that one"
  return [{ pointer: "/admin/listen", message }]
}

function overlap(a: string, b: string): boolean {
  const [one, other] = [a, b].map((host) => host.replace(/^\[|\]$/g, "").replace("localhost", "127.0.0.1"))
  const isAny = (host: string | undefined) => host === "0.0.0.0" || host === "::" || host === "*"
  return one === other || isAny(one) || isAny(other)
}

function repeatedPackages(value: unknown): readonly Problem[] {
  const names = listAt(value, "plugins", "packages").map((spec) => String(spec).replace(/(?<=.)@.*$/, ""))
  return names.flatMap((name, index) => {
    if (names.indexOf(name) === index) return []
    const message = `is the package "${name}" again; a plugin runs in one version`
    return [{ pointer: childOf("/plugins/packages", index), message }]
  })
}

function listAt(value: unknown, ...segments: readonly string[]): readonly unknown[] {
  const list = valueAt(value, ...segments)
  return Array.isArray(list) ? list : []
}
