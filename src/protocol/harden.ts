/** Makes parsed JSON safe to share: frozen throughout, and without `__proto__` keys, which a careless copy would obey. */
export function harden(value: unknown): void {
  if (typeof value !== "object" || value === null) return
  if (Object.hasOwn(value, "__proto__")) Reflect.deleteProperty(value, "__proto__")
  for (const child of Object.values(value)) harden(child)
  Object.freeze(value)
}
