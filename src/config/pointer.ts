/** JSON pointers (RFC 6901): how the tree, the schema's errors and the rules name one place in the config. */
export type Pointer = string

export const childOf = (parent: Pointer, key: string | number): Pointer =>
  `${parent}/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`

export const parentOf = (pointer: Pointer): Pointer => pointer.slice(0, pointer.lastIndexOf("/"))

export const segmentsOf = (pointer: Pointer): readonly string[] =>
  pointer
    .split("/")
    .slice(1)
    .map((segment) => segment.replaceAll("~1", "/").replaceAll("~0", "~"))

/** As people write it: `providers[0].timeout.connect`. */
export function pathOf(pointer: Pointer): string {
  return segmentsOf(pointer)
    .map((segment) => {
      if (/^\d+$/.test(segment)) return `[${segment}]`
      return /^[\w-]+$/.test(segment) ? `.${segment}` : `[${JSON.stringify(segment)}]`
    })
    .join("")
    .replace(/^\./, "")
}

/** What stands there, or undefined. */
export function valueAt(root: unknown, ...segments: readonly (string | number)[]): unknown {
  return segments.reduce<unknown>(
    (value, segment) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, segment)
        ? (value as Record<string | number, unknown>)[segment]
        : undefined,
    root,
  )
}
