import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import { withoutPackage, withPackage } from "../../src/config/edit-packages.ts"

describe("a package is listed", () => {
  test.each([
    ["an empty file", "", `plugins:\n  packages: ["x@1.0.0"]\n`],
    ["a file of comments", "# mine\n", `# mine\nplugins:\n  packages: ["x@1.0.0"]\n`],
    [
      "no section",
      "server: { port: 1 } # p\n",
      `server: { port: 1 } # p\nplugins:\n  packages: ["x@1.0.0"]\n`,
    ],
    [
      "a section of comments",
      "plugins: # mine\n  # enabled: true\nmodels: {}\n",
      `plugins: # mine\n  packages: ["x@1.0.0"]\n  # enabled: true\nmodels: {}\n`,
    ],
    [
      "a section without the list",
      "plugins:\n    # on\n    enabled: true # yes\n",
      `plugins:\n    packages: ["x@1.0.0"]\n    # on\n    enabled: true # yes\n`,
    ],
    [
      "an empty list",
      "plugins:\n  packages: [] # none\n  enabled: true\n",
      `plugins:\n  packages: ["x@1.0.0"] # none\n  enabled: true\n`,
    ],
    [
      "a list in brackets",
      'plugins:\n  packages: ["a@1.0.0"] # mine\n',
      `plugins:\n  packages: ["a@1.0.0", "x@1.0.0"] # mine\n`,
    ],
    [
      "a list with a line for each",
      "plugins:\n  packages:\n    # first\n    - a@1.0.0 # a\n  enabled: true\n",
      `plugins:\n  packages:\n    # first\n    - a@1.0.0 # a\n    - "x@1.0.0"\n  enabled: true\n`,
    ],
    [
      "another version of it",
      "plugins:\n  packages:\n    - x@0.9.0 # pinned\n    - b@1.0.0\n",
      "plugins:\n  packages:\n    - x@1.0.0 # pinned\n    - b@1.0.0\n",
    ],
    [
      "a section in braces",
      "plugins: { enabled: true } # p\n",
      `plugins: { enabled: true, packages: [ x@1.0.0 ] } # p\n`,
    ],
  ])("beside %s, and nothing else changes", (_, before, after) => {
    expect(withPackage(before, "x@1.0.0")).toBe(after)
    expect(withPackage(after, "x@1.0.0")).toBe(after)
  })
})

describe("a package is taken out", () => {
  test.each([
    ["the only one", `plugins:\n  packages: ["x@1.0.0"] # c\n`, "plugins:\n  packages: [] # c\n"],
    [
      "one of several",
      "plugins:\n  packages:\n    - a@1.0.0 # a\n    - x@2.0.0\n    - b@1.0.0\n",
      "plugins:\n  packages:\n    - a@1.0.0 # a\n    - b@1.0.0\n",
    ],
    ["one that is not there", "plugins: {}\n", "plugins: {}\n"],
    [
      "one of a scope",
      `plugins:\n  packages: ["@s/x@1.0.0", "x@1.0.0"]\n`,
      `plugins:\n  packages: ["@s/x@1.0.0"]\n`,
    ],
  ])("%s, and nothing else changes", (_, before, after) => {
    expect(withoutPackage(before, "x")).toBe(after)
  })

  test("and with it goes its line, where it is the last one", () => {
    const after = withoutPackage(
      "plugins:\n  # mine\n  packages:\n    - x@1.0.0\n  enabled: true # yes\n",
      "x",
    )
    expect(Bun.YAML.parse(after)).toEqual({ plugins: { packages: [], enabled: true } })
    expect(after).toContain("# mine")
    expect(after).toContain("enabled: true # yes")
  })
})

test("the shipped config keeps every other byte", async () => {
  const text = await Bun.file(join(import.meta.dir, "../../config.yaml")).text()
  const after = withPackage(text, "leapgate-plugin-x@1.2.3")
  expect(after).toBe(text.replace("packages: []", `packages: ["leapgate-plugin-x@1.2.3"]`))
  expect(withoutPackage(after, "leapgate-plugin-x")).toBe(text)
})
