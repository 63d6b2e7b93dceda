/** A documentation page as its parts: code blocks and tables, each with its line. */
import { join, resolve } from "node:path"

export const REPOSITORY = resolve(import.meta.dir, "../..")

export interface Block {
  /** What stands behind the three backticks. */
  readonly language: string
  readonly text: string
  /** For messages: `docs/guides/operate.md:12`. */
  readonly place: string
}

export interface Page {
  readonly text: string
  readonly blocks: readonly Block[]
}

/** @param path from the repository's root */
export async function readPage(path: string): Promise<Page> {
  const text = await Bun.file(join(REPOSITORY, path)).text()
  const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
    ({ 1: language = "", 2: content = "", index }) => ({
      language,
      text: content,
      place: `${path}:${text.slice(0, index).split("\n").length}`,
    }),
  )
  return { text, blocks }
}

/** The part of a page below a heading, up to the next one of the same rank or a higher one. */
export function sectionOf(page: string, heading: string): string {
  const lines = page.split("\n")
  const start = lines.findIndex((line) => line.replace(/^#+ /, "") === heading && line.startsWith("#"))
  if (start < 0) throw new Error(`the page has no heading "${heading}"`)
  const rank = lines[start]?.indexOf(" ") ?? 0
  const end = lines.findIndex((line, at) => at > start && /^#+ /.test(line) && line.indexOf(" ") <= rank)
  return lines.slice(start + 1, end < 0 ? undefined : end).join("\n")
}

/** The cells of every table row whose first cell is code, without the backticks around whole cells. */
export function codeRows(text: string): readonly (readonly string[])[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split(/(?<!\\)\|/).slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim().replace(/^`([^`]*)`$/, "$1")))
}

/** A plugin's or config's file name, where the block's first line is a comment with one. */
export function fileNameOf({ text }: Block): string | undefined {
  return /^(?:\/\/|#) ((?:plugins\/)?[\w.-]+\.(?:ts|yaml))\n/.exec(text)?.[1]
}
