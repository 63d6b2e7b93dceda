/** The one of `known` that a slip of the keyboard turns into `name`, if any is that close. */
export function closestTo(name: string, known: readonly string[]): string | undefined {
  // Two swapped letters count as two, and are the commonest slip.
  const limit = name.length < 4 ? 1 : Math.max(2, Math.floor(name.length / 3))
  const distances = known.map((candidate) => ({ candidate, distance: distanceBetween(name, candidate) }))
  return distances.filter(({ distance }) => distance <= limit).sort((a, b) => a.distance - b.distance)[0]
    ?.candidate
}

/** Levenshtein. */
function distanceBetween(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(replaced, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    above = row
  }
  return above[b.length] ?? 0
}
