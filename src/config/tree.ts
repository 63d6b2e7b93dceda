/** YAML text as plain values that remember where each of them stood. */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLError,
} from "yaml"
import type { Problem } from "./faults.ts"
import { childOf, type Pointer, parentOf } from "./pointer.ts"

export interface Place {
  readonly line: number
  readonly column: number
}

export interface Tree {
  readonly value: unknown
  /** Where a value stands, or its key; the nearest parent that was written down, if it was not. */
  placeOf(pointer: Pointer, part: "key" | "value"): Place
  /** If there are any, there is no value. */
  readonly problems: readonly Problem[]
}

export function parseTree(text: string): Tree {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, merge: true, prettyErrors: false })
  const syntaxProblems = syntaxErrors(document).map((error) =>
    problem(error.pos[0], syntaxMessage(error, text)),
  )
  const reading = new Reading(document)
  const value = syntaxProblems.length === 0 ? reading.read() : undefined
  const contentProblems = reading.mistakes.map(({ offset, message }) => problem(offset, message))

  return { value, problems: [...syntaxProblems, ...contentProblems], placeOf }

  function placeOf(pointer: Pointer, part: "key" | "value"): Place {
    for (let at = pointer; at !== ""; at = parentOf(at)) {
      const offsets = reading.offsets.get(at)
      if (offsets !== undefined) return placeAt(offsets[at === pointer ? part : "key"])
    }
    return placeAt(0)
  }

  function problem(offset: number, message: string): Problem {
    return { pointer: "", place: placeAt(offset), message }
  }

  function placeAt(offset: number): Place {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
}

/** Aliases can make a short file enormous, or endless. */
const MAX_NODES = 100_000
const MAX_DEPTH = 64
const TOO_LARGE = `the file has more than ${MAX_NODES} values or is nested deeper than ${MAX_DEPTH}, perhaps through aliases`

/** One walk over a document, from its nodes to plain values. */
class Reading {
  readonly offsets = new Map<Pointer, { readonly key: number; readonly value: number }>()
  readonly mistakes: { readonly offset: number; readonly message: string }[] = []
  readonly #document: Document
  readonly #targets = new Map<Alias, Node | undefined>()
  #nodes = 0

  constructor(document: Document) {
    this.#document = document
  }

  read(): unknown {
    try {
      return this.#content(this.#document.contents, "", 0)
    } catch (thrown) {
      if (!(thrown instanceof RangeError)) throw thrown
      this.mistakes.push({ offset: 0, message: TOO_LARGE })
      return undefined
    }
  }

  #content(written: unknown, pointer: Pointer, depth: number): unknown {
    if (++this.#nodes > MAX_NODES || depth > MAX_DEPTH) throw new RangeError(TOO_LARGE)
    const node = this.#resolved(written)
    if (isMap(node)) return Object.fromEntries(this.#entries(node.items, pointer, depth + 1))
    if (isSeq(node))
      return node.items.map((item, index) => this.#item(item, childOf(pointer, index), depth + 1))
    return isScalar(node) ? node.value : null
  }

  #item(node: unknown, pointer: Pointer, depth: number): unknown {
    const offset = offsetOf(node) ?? 0
    this.offsets.set(pointer, { key: offset, value: offset })
    return this.#content(node, pointer, depth)
  }

  #entries(pairs: readonly Pair[], pointer: Pointer, depth: number): readonly (readonly [string, unknown])[] {
    const merged = pairs.filter(isMerge).flatMap((pair) => this.#merged(pair.value, pointer, depth))
    const own = pairs.filter((pair) => !isMerge(pair)).map((pair) => this.#entry(pair, pointer, depth))
    return [...merged, ...own]
  }

  #entry(pair: Pair, parent: Pointer, depth: number): readonly [string, unknown] {
    const keyNode = this.#resolved(pair.key)
    const key = offsetOf(pair.key) ?? 0
    if (!isScalar(keyNode)) this.mistakes.push({ offset: key, message: "a key must be plain text" })
    const name = isScalar(keyNode) ? String(keyNode.value) : ""
    const pointer = childOf(parent, name)
    this.offsets.set(pointer, { key, value: offsetOf(pair.value) ?? key })
    return [name, this.#content(pair.value, pointer, depth)]
  }

  #merged(source: unknown, pointer: Pointer, depth: number): readonly (readonly [string, unknown])[] {
    if (depth > MAX_DEPTH) throw new RangeError(TOO_LARGE)
    const node = this.#resolved(source)
    if (isMap(node)) return this.#entries(node.items, pointer, depth + 1)
    // The first of several wins, and of equal entries the last one does.
    if (isSeq(node)) return node.items.toReversed().flatMap((item) => this.#merged(item, pointer, depth + 1))
    const message = '"<<" must name a mapping, or a list of mappings'
    this.mistakes.push({ offset: offsetOf(source) ?? 0, message })
    return []
  }

  #resolved(node: unknown): unknown {
    if (!isAlias(node)) return node
    // The library looks through the whole document each time.
    if (!this.#targets.has(node)) this.#targets.set(node, node.resolve(this.#document))
    return this.#targets.get(node)
  }
}

function offsetOf(node: unknown): number | undefined {
  return typeof node === "object" && node !== null ? (node as Node).range?.[0] : undefined
}

const isMerge = (pair: Pair): boolean =>
  isScalar(pair.key) && (pair.key.value === "<<" || typeof pair.key.value === "symbol")

/** Behind the first error the parser has lost its way, and all it says is noise. */
function syntaxErrors({ errors, warnings }: Document): readonly YAMLError[] {
  const first = errors.findIndex((error) => error.code !== "DUPLICATE_KEY")
  return [...(first === -1 ? errors : errors.slice(0, first + 1)), ...warnings]
}

function syntaxMessage(error: YAMLError, text: string): string {
  if (error.code === "DUPLICATE_KEY") return "this key stands here a second time"
  // Behind a colon the parser quotes the source, which may be a secret.
  const message = error.message.replace(/: .*$/s, "")
  const line = text.slice(text.lastIndexOf("\n", error.pos[0] - 1) + 1, error.pos[0] + 1)
  const hint = /[{[,].*\$\{/.test(line) ? FLOW_HINT : ""
  return `${message.charAt(0).toLowerCase()}${message.slice(1)}${hint}`
}

const FLOW_HINT = `; inside { } and [ ] a variable needs quotes: "\${NAME}"`
