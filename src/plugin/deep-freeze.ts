/** Freezes copied data throughout; bytes cannot be frozen and stay as they are. Returns its argument. */
export function deepFreeze(value: unknown): unknown {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value
  for (const item of Object.values(value)) deepFreeze(item)
  return Object.freeze(value)
}
