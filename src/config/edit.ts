/**
 * Changes values in YAML text and leaves all else as it is, to the byte: comments, order, quotes, blank lines. The
 * parser says where each value stands; the text is cut and joined there.
 */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  type Pair,
  parseDocument,
  stringify,
  type YAMLMap,
} from "yaml"
import { GatewayError } from "../errors.ts"
import { valueAt } from "./pointer.ts"
import { parseTree } from "./tree.ts"

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

/** What a JSON Merge Patch makes of a value: null takes a key away. Source: RFC 7386 */
export function mergePatch(target: unknown, patch: Json): unknown {
  if (!isObject(patch)) return patch
  const merged = new Map<string, unknown>(isObject(target) ? Object.entries(target) : [])
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key)
    else merged.set(key, mergePatch(merged.get(key), value))
  }
  return Object.fromEntries(merged)
}

/**
 * Applies a JSON Merge Patch to the text of a config.
 * @throws GatewayError `plugin_conflict` where that cannot be done without changing anything else
 */
export function patchYaml(text: string, patch: JsonObject): string {
  const current = parseTree(text).value
  const edited = new Edit(text).apply(patch, current)
  const { value, problems } = parseTree(edited)
  if (
    problems.length === 0 &&
    Bun.deepEquals(withoutEmpty(value), withoutEmpty(mergePatch(current, patch)))
  ) {
    return edited
  }
  throw new GatewayError(
    "plugin_conflict",
    "the config file cannot be changed here without changing more than was asked for, as with values that come from anchors or merges; edit it by hand",
  )
}

interface Splice {
  readonly start: number
  readonly end: number
  readonly text: string
}

class Edit {
  readonly #text: string
  readonly #eol: string
  readonly #document: Document
  readonly #splices: Splice[] = []

  constructor(text: string) {
    this.#text = text
    this.#eol = text.includes("\r\n") ? "\r\n" : "\n"
    this.#document = parseDocument(text, { merge: true })
  }

  apply(patch: JsonObject, current: unknown): string {
    const { contents } = this.#document
    if (isMap(contents)) this.#merge(contents, patch, current)
    else this.#insertLines(this.#text.length, linesOf(mergePatch({}, patch), 0))
    let text = this.#text
    // From the end to the start. Of two at one place, what was added deeper comes first in the text.
    const backwards = this.#splices.toReversed().sort((a, b) => b.start - a.start || b.end - a.end)
    for (const { start, end, text: replacement } of backwards) {
      text = text.slice(0, start) + replacement + text.slice(end)
    }
    return text
  }

  #merge(map: YAMLMap, patch: JsonObject, current: unknown): void {
    const pairs = map.items as readonly Pair[]
    const added: [string, unknown][] = []
    const removed = new Set<Pair>()
    for (const [key, value] of Object.entries(patch)) {
      const pair = pairs.find((other) => isScalar(other.key) && other.key.value === key)
      if (pair === undefined) {
        if (value !== null) added.push([key, mergePatch(undefined, value)])
      } else if (value === null) removed.add(pair)
      else this.#change(map, pair, value, valueAt(current, key))
    }
    if (added.length === 0 && removed.size === 0) return
    if (map.flow) this.#mergeFlow(map, added, removed)
    else this.#mergeBlock(pairs, added, removed)
  }

  #change(map: YAMLMap, pair: Pair, value: Json, current: unknown): void {
    if (isObject(value) && isMap(pair.value)) {
      this.#merge(pair.value, value, current)
      return
    }
    const merged = mergePatch(current, value)
    const keyEnd = rangeOf(pair.key)[1]
    const [start, end] = pair.value === null ? [keyEnd, keyEnd] : rangeOf(pair.value)
    const valueStart = start === end ? undefined : start
    if (valueStart === undefined && !map.flow && isFilledObject(merged)) {
      const indent = this.#columnOf(rangeOf(pair.key)[0]) + INDENT
      this.#insertLines(this.#lineEnd(keyEnd), linesOf(merged, indent))
      return
    }
    const colonEnd = this.#text.indexOf(":", keyEnd) + 1
    const text = map.flow ? inFlow(merged) : inline(merged)
    if (valueStart === undefined) {
      this.#splices.push({ start: colonEnd, end: colonEnd, text: ` ${text}` })
      return
    }
    const valueEnd = endOf(pair)
    const isBeside = this.#text.slice(colonEnd, valueStart).trim() === ""
    const eol = this.#text[valueEnd - 1] === "\n" ? this.#eol : ""
    this.#splices.push({
      start: isBeside ? colonEnd : valueStart,
      end: valueEnd,
      text: `${isBeside ? " " : ""}${text}${eol}`,
    })
  }

  #mergeBlock(pairs: readonly Pair[], added: readonly [string, unknown][], removed: ReadonlySet<Pair>): void {
    const [first] = pairs
    const last = pairs.at(-1)
    if (first === undefined || last === undefined) return
    const indent = this.#columnOf(rangeOf(first.key)[0])
    for (const pair of removed) {
      const start = rangeOf(pair.key)[0] - this.#columnOf(rangeOf(pair.key)[0])
      this.#splices.push({ start, end: this.#lineEnd(endOf(pair)), text: "" })
    }
    const isEmpty = added.length === 0 && removed.size === pairs.length
    const lines = isEmpty ? [`${" ".repeat(indent)}{}`] : linesOf(Object.fromEntries(added), indent)
    this.#insertLines(this.#lineEnd(endOf(last)), lines)
  }

  #mergeFlow(map: YAMLMap, added: readonly [string, unknown][], removed: ReadonlySet<Pair>): void {
    const pairs = map.items as readonly Pair[]
    const kept = pairs.filter((pair) => !removed.has(pair))
    const lastKept = kept.at(-1)
    const news = added.map(([key, value]) => `${inFlow(key)}: ${inFlow(value)}`).join(", ")
    if (lastKept === undefined) {
      const [start, end] = rangeOf(map)
      this.#splices.push({ start, end, text: news === "" ? "{}" : `{ ${news} }` })
      return
    }
    for (const [index, pair] of pairs.entries()) {
      const next = pairs[index + 1]
      if (!removed.has(pair) || next === undefined || index > pairs.indexOf(lastKept)) continue
      this.#splices.push({ start: rangeOf(pair.key)[0], end: rangeOf(next.key)[0], text: "" })
    }
    const start = endOf(lastKept)
    const end = endOf(pairs.at(-1) ?? lastKept)
    this.#splices.push({ start, end, text: news === "" ? "" : `, ${news}` })
  }

  #insertLines(at: number, lines: readonly string[]): void {
    if (lines.length === 0) return
    const isMidLine = at > 0 && this.#text[at - 1] !== "\n"
    const text = (isMidLine ? this.#eol : "") + lines.map((line) => line + this.#eol).join("")
    this.#splices.push({ start: at, end: at, text })
  }

  #columnOf(offset: number): number {
    return offset - (this.#text.lastIndexOf("\n", offset - 1) + 1)
  }

  /** Where the next line begins. */
  #lineEnd(offset: number): number {
    if (offset > 0 && this.#text[offset - 1] === "\n") return offset
    const newline = this.#text.indexOf("\n", offset)
    return newline < 0 ? this.#text.length : newline + 1
  }
}

const INDENT = 2

function linesOf(value: unknown, indent: number): readonly string[] {
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([key, item]) => {
    const start = `${" ".repeat(indent)}${inline(key)}:`
    return isFilledObject(item) ? [start, ...linesOf(item, indent + INDENT)] : [`${start} ${inline(item)}`]
  })
}

/** A value on one line. */
function inline(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inFlow).join(", ")}]`
  if (isFilledObject(value)) {
    const entries = Object.entries(value).map(([key, item]) => `${inFlow(key)}: ${inFlow(item)}`)
    return `{ ${entries.join(", ")} }`
  }
  // The library breaks such a text into lines.
  if (typeof value === "string" && /[\n\r]/.test(value)) return JSON.stringify(value)
  return stringify(value, { lineWidth: 0 }).trimEnd()
}

/** The same inside of brackets, where more has to be quoted. */
function inFlow(value: unknown): string {
  const text = inline(value)
  return typeof value === "string" && !/^["']/.test(text) && /[[\]{},]/.test(text)
    ? JSON.stringify(value)
    : text
}

/** Without what follows: blanks, comments. */
function endOf(node: unknown): number {
  if (isPair(node)) return node.value === null ? rangeOf(node.key)[1] : endOf(node.value)
  if (isCollection(node) && !node.flow && node.items.length > 0) return endOf(node.items.at(-1))
  return rangeOf(node)[1]
}

function rangeOf(node: unknown): readonly [number, number] {
  const range = isScalar(node) || isCollection(node) || isAlias(node) ? node.range : undefined
  if (range) return [range[0], range[1]]
  throw new GatewayError("internal_error", "a part of the config file has no place")
}

function isObject(value: unknown): value is Readonly<Record<string, Json>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function isFilledObject(value: unknown): value is Readonly<Record<string, Json>> {
  return isObject(value) && Object.keys(value).length > 0
}

/** A key without a value, and one with an empty mapping, say the same. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty)
  if (!isObject(value)) return value
  return Object.entries(value)
    .map(([key, item]) => [key, withoutEmpty(item)] as const)
    .filter(([, item]) => item !== null && !(isObject(item) && !isFilledObject(item)))
    .sort(([a], [b]) => (a < b ? -1 : 1))
}
