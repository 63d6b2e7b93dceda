import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import { HOOK_KINDS, HOOK_NAMES, TEXT_WINDOW } from "../../src/plugin/contract.ts"
import { codeRows, REPOSITORY, readPage, sectionOf } from "./page.ts"

const { text } = await readPage("docs/reference/hooks.md")
const contract = await Bun.file(join(REPOSITORY, "src/plugin/contract.ts")).text()

test("the page has a section for each hook, in the contract's order", () => {
  const sections = [...text.matchAll(/^## (on[A-Z]\w+)$/gm)].map(([, name = ""]) => name)
  expect(sections).toEqual([...HOOK_NAMES])
})

describe.each(HOOK_NAMES.map((name) => [name] as const))("the section of %s", (name) => {
  const section = sectionOf(text, name)

  test("has a box with kind, when, may and failure", () => {
    const box = [...section.matchAll(/^\| (\w+) +\| (.+?) *\|$/gm)].map(([, row, cell = ""]) => [row, cell])
    expect(box.slice(0, 4).map(([row]) => row)).toEqual(["kind", "when", "may", "failure"])
    expect(box[0]?.[1]).toBe(HOOK_KINDS[name])
    expect(box[2]?.[1] === "Nothing").toBe(HOOK_KINDS[name] === "observe")
  })

  test("has the fields of the event, and no others", () => {
    const [, event = ""] = new RegExp(`^  ${name}\\?\\(event: (\\w+),`, "m").exec(contract) ?? []
    expect(fieldsIn(section)).toEqual(fieldsOf(event))
  })
})

test("the fields that every call's event carries are those of CallEvent", () => {
  expect(fieldsIn(sectionOf(text, "What every call's event carries"))).toEqual(fieldsOf("CallEvent"))
})

test("what onRequest may change is what RequestChange has", () => {
  const changes = codeRows(sectionOf(text, "onRequest")).filter((cells) => cells.length === 2)
  expect(changes.map(([change = ""]) => change)).toEqual(fieldsOf("RequestChange"))
})

test("the events that carry a call's fields are named", () => {
  const [, sentence = ""] = /\n\n(`onRequest`.+?) are about one call/s.exec(text) ?? []
  const named = [...sentence.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name)
  const extending = HOOK_NAMES.filter((name) => {
    const [, event = ""] = new RegExp(`^  ${name}\\?\\(event: (\\w+),`, "m").exec(contract) ?? []
    return new RegExp(`interface ${event}(?:Of<.+>)? extends CallEvent`).test(contract)
  })
  expect(named).toEqual(extending)
})

test("the window of onText is as long as the page says", () => {
  expect(text).toContain(`the last ${TEXT_WINDOW} characters (\`TEXT_WINDOW\`)`)
})

/** The first cells of a section's tables of fields. */
function fieldsIn(section: string): string[] {
  return codeRows(section)
    .filter((cells) => cells.length === 3)
    .map(([field = ""]) => field)
}

/** The fields of an interface of the contract, without those it extends. One may come in a form for each operation. */
function fieldsOf(name: string): string[] {
  const head = `^export interface ${name}(?:Of)?(?:<[^{]+>)?(?: extends [\\w<>]+)?`
  const [, body = ""] = new RegExp(`${head} \\{\\n(.*?)^\\}`, "ms").exec(contract) ?? []
  if (body === "") throw new Error(`the contract has no interface ${name}`)
  return [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, field = ""]) => field)
}
