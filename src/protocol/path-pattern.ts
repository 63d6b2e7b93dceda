/**
 * Compiles route patterns such as `/v1/*`: `*` stands for any run of characters, everything else for itself.
 * No patterns at all match every path.
 */
export function pathMatcher(patterns: readonly string[] | undefined): (path: string) => boolean {
  if (patterns === undefined || patterns.length === 0) return () => true
  const matchers = patterns.map(compile)
  return (path) => matchers.some((matches) => matches(path))
}

function compile(pattern: string): (path: string) => boolean {
  const pieces = pattern.split("*")
  const first = pieces[0] ?? ""
  const last = pieces.at(-1) ?? ""
  if (pieces.length === 1) return (path) => path === pattern
  const middle = pieces.slice(1, -1)
  return (path) => {
    if (!path.startsWith(first) || !path.endsWith(last) || path.length < first.length + last.length)
      return false
    let from = first.length
    for (const piece of middle) {
      const at = path.indexOf(piece, from)
      if (at < 0) return false
      from = at + piece.length
    }
    return from <= path.length - last.length
  }
}
