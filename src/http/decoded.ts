/** A part of a path without its percent-encoding; as it came, where it has none that is valid. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
