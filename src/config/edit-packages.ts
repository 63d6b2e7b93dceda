/**
 * Changes `plugins.packages` in the text of a config. Everything else stays as it was written, comments too:
 * where the list stands in one of the usual forms, only its own lines change.
 */
import {
  type Document,
  isMap,
  isScalar,
  isSeq,
  type Pair,
  parseDocument,
  type YAMLMap,
  type YAMLSeq,
} from "yaml"

const nameOf = (spec: string): string => spec.slice(0, spec.lastIndexOf("@"))

/** Lists a package, in the place of another version of it. */
export function withPackage(text: string, spec: string): string {
  const others = packagesIn(parseDocument(text))
  const isListed = others.some((other) => nameOf(other) === nameOf(spec))
  return edited(
    text,
    isListed ? others.map((other) => (nameOf(other) === nameOf(spec) ? spec : other)) : [...others, spec],
  )
}

/** Takes a package out, whatever its version. */
export function withoutPackage(text: string, name: string): string {
  return edited(
    text,
    packagesIn(parseDocument(text)).filter((spec) => nameOf(spec) !== name),
  )
}

function packagesIn(document: Document): readonly string[] {
  const list = document.getIn(["plugins", "packages"])
  return isSeq(list) ? list.items.map((item) => String(isScalar(item) ? item.value : item)) : []
}

function edited(text: string, wanted: readonly string[]): string {
  const document = parseDocument(text, { merge: true })
  if (Bun.deepEquals(packagesIn(document), wanted)) return text
  const candidate = spliced(text, document, wanted)
  if (candidate !== undefined && isOtherwiseEqual(candidate, document, wanted)) return candidate
  if (!isMap(document.get("plugins"))) document.set("plugins", document.createNode({}))
  document.setIn(["plugins", "packages"], document.createNode([...wanted]))
  return document.toString({ lineWidth: 0 })
}

/** Whether the text says the same as before, but for the list. */
function isOtherwiseEqual(text: string, before: Document, wanted: readonly string[]): boolean {
  const after = parseDocument(text, { merge: true })
  if (after.errors.length > 0 || !Bun.deepEquals(packagesIn(after), wanted)) return false
  const { plugins, ...others } = before.toJS() ?? {}
  return Bun.deepEquals(after.toJS(), { ...others, plugins: { ...plugins, packages: wanted } })
}

/** The text with the list put in by hand; undefined where its form is none of the usual ones. */
function spliced(text: string, document: Document, wanted: readonly string[]): string | undefined {
  if (document.contents === null) return `${text}${SECTION(wanted)}`
  if (!isMap(document.contents) || document.contents.flow) return undefined
  const section = pairOf(document.contents, "plugins")
  if (section === undefined) return `${text}${text.endsWith("\n") ? "" : "\n"}${SECTION(wanted)}`
  if (!isMap(section.value) || section.value.flow) {
    return isEmpty(section.value) ? belowKey(text, section, `  packages: ${flow(wanted)}`) : undefined
  }
  const list = pairOf(section.value, "packages")
  const indent = " ".repeat(columnOf(text, startOf(section.value)))
  if (list === undefined) return belowKey(text, section, `${indent}packages: ${flow(wanted)}`)
  if (!isSeq(list.value)) return undefined
  return list.value.flow ? inFlow(text, list.value, wanted) : inBlock(text, list.value, wanted)
}

const flow = (specs: readonly string[]): string => `[${specs.map((spec) => JSON.stringify(spec)).join(", ")}]`
const SECTION = (specs: readonly string[]): string => `plugins:\n  packages: ${flow(specs)}\n`

function inFlow(text: string, { range }: YAMLSeq, wanted: readonly string[]): string | undefined {
  if (!range || text.slice(range[0], range[1]).includes("#")) return undefined
  return text.slice(0, range[0]) + flow(wanted) + text.slice(range[1])
}

/** One line an item: those that go lose theirs, what is new comes behind the last. */
function inBlock(text: string, list: YAMLSeq, wanted: readonly string[]): string | undefined {
  if (wanted.length === 0) return undefined
  const lines = text.split("\n")
  const items = list.items.map((item) => ({
    spec: String(isScalar(item) ? item.value : item),
    line: text.slice(0, startOf(item)).split("\n").length - 1,
  }))
  const dash = " ".repeat(columnOf(text, startOf(list)))
  const replaced = items.flatMap(({ spec, line }) => {
    const next = wanted.find((other) => nameOf(other) === nameOf(spec))
    if (next === undefined) return [line]
    lines[line] = (lines[line] ?? "").replace(spec, next)
    return []
  })
  const added = wanted.filter((spec) => !items.some((item) => nameOf(item.spec) === nameOf(spec)))
  lines.splice((items.at(-1)?.line ?? 0) + 1, 0, ...added.map((spec) => `${dash}- ${JSON.stringify(spec)}`))
  return lines.filter((_, index) => !replaced.includes(index)).join("\n")
}

function belowKey(text: string, { key }: Pair, line: string): string {
  const end = text.indexOf("\n", startOf(key))
  return end === -1 ? `${text}\n${line}\n` : `${text.slice(0, end)}\n${line}${text.slice(end)}`
}

function pairOf(map: YAMLMap, name: string): Pair | undefined {
  return map.items.find(({ key }) => isScalar(key) && key.value === name)
}

/** A section whose lines are all comments. */
const isEmpty = (value: unknown): boolean => value === null || (isScalar(value) && value.value === null)

function startOf(node: unknown): number {
  const range = typeof node === "object" && node !== null && "range" in node ? node.range : undefined
  return Array.isArray(range) ? Number(range[0]) : 0
}

const columnOf = (text: string, offset: number): number => offset - (text.lastIndexOf("\n", offset - 1) + 1)
