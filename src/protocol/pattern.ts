/**
 * Compiles patterns in which `*` stands for any run of characters, and everything else for itself. What it gives says
 * whether a text fits one of them; with no pattern, none does.
 *
 * The pieces between the stars are found one after another: no text and no pattern makes that slow, as they can a
 * regular expression.
 *
 * @example
 * const isServed = matcher(["gpt-*", "claude-*"])
 * isServed("gpt-4o") // true
 */
export function matcher(patterns: readonly string[]): (text: string) => boolean {
  const compiled = patterns.map(compile)
  const [only, ...others] = compiled
  if (only !== undefined && others.length === 0) return only
  return (text) => compiled.some((fits) => fits(text))
}

function compile(pattern: string): (text: string) => boolean {
  const [first = "", ...middle] = pattern.split("*")
  const last = middle.pop()
  if (last === undefined) return (text) => text === pattern
  return (text) => {
    if (!text.startsWith(first)) return false
    let from = first.length
    for (const piece of middle) {
      const at = text.indexOf(piece, from)
      if (at < 0) return false
      from = at + piece.length
    }
    return text.length - from >= last.length && text.endsWith(last)
  }
}
