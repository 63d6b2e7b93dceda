/**
 * `${NAME}`, `${NAME:-default}` and `${file:/run/secrets/x}` in the values of the config. They are filled in
 * after the parse, so that no value can add a key. `$${` stands for a literal `${`.
 */
import { childOf, type Pointer } from "./pointer.ts"

export interface VariableSource {
  readonly env: Readonly<Record<string, string | undefined>>
  /** The content of a file, or undefined where it cannot be read. */
  readFile(path: string): string | undefined
}

/** What one value took from outside. */
export interface VariableUse {
  readonly names: readonly string[]
  /** The value was one variable and nothing else, so it may become a number or a boolean. */
  readonly isWhole: boolean
  /** Sentences such as `PORT is not set`. The value is then undefined. */
  readonly missing: readonly string[]
  /** The same for variables that are set to nothing and have no default. */
  readonly empty: readonly string[]
  readonly malformed: boolean
}

interface Expanded {
  readonly value: unknown
  readonly uses: ReadonlyMap<Pointer, VariableUse>
}

export function expandVariables(value: unknown, source: VariableSource): Expanded {
  const uses = new Map<Pointer, VariableUse>()
  return { value: expanded(value, ""), uses }

  function expanded(value: unknown, pointer: Pointer): unknown {
    if (typeof value === "string") return text(value, pointer)
    if (Array.isArray(value)) return value.map((item, index) => expanded(item, childOf(pointer, index)))
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, expanded(item, childOf(pointer, key))]),
    )
  }

  function text(value: string, pointer: Pointer): string | undefined {
    if (!value.includes("${")) return value
    const use = expandText(value, source)
    if (use.names.length > 0 || use.malformed) uses.set(pointer, use)
    return use.missing.length > 0 || use.malformed ? undefined : use.text
  }
}

const VARIABLE = /\$\$\{|\$\{([^}]*)\}|\$\{/g
const NAME = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s

function expandText(text: string, source: VariableSource): VariableUse & { readonly text: string } {
  const names: string[] = []
  const missing: string[] = []
  const empty: string[] = []
  let malformed = false
  const result = text.replace(VARIABLE, (match, body: string | undefined) => {
    if (match === "$${") return "${"
    if (body?.startsWith("file:")) return fileContent(body.slice("file:".length))
    const [, name, fallback] = NAME.exec(body ?? "") ?? []
    if (name !== undefined) return variable(name, fallback)
    malformed = true
    return ""
  })
  return { text: result, names, missing, empty, malformed, isWhole: /^\$\{[^}]*\}$/.test(text) }

  function variable(name: string, fallback: string | undefined): string {
    names.push(name)
    const value = source.env[name]
    if (value) return value
    if (fallback !== undefined) return fallback
    if (value === undefined) missing.push(`${name} is not set`)
    else empty.push(`${name} is empty`)
    return ""
  }

  function fileContent(path: string): string {
    names.push(`file ${path}`)
    const content = source.readFile(path)
    if (content === undefined) missing.push(`file ${path} cannot be read`)
    if (content === "") empty.push(`file ${path} is empty`)
    return content ?? ""
  }
}
