import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { Glob } from "bun"

const ROOT = join(import.meta.dir, "../..")

/** What each folder of src/ may import besides itself. */
const BASE = ["errors.ts", "clock.ts", "protocol/similar.ts"]
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  "errors.ts": [],
  "clock.ts": [],
  protocol: BASE,
  config: BASE,
  telemetry: BASE,
  state: BASE,
  source: [...BASE, "telemetry"],
  plugin: [...BASE, "source", "protocol", "telemetry", "state", "config/units.ts"],
  fleet: [...BASE, "telemetry", "plugin"],
  upstream: [...BASE, "protocol", "telemetry", "plugin/contract.ts"],
  routing: [...BASE, "protocol", "telemetry", "state", "plugin"],
  pipeline: [...BASE, "protocol", "telemetry", "state", "routing", "plugin"],
  http: [...BASE, "protocol", "config", "telemetry", "state", "plugin", "fleet", "routing", "pipeline"],
}

const COMPOSERS = [
  "gateway.ts",
  "main.ts",
  "bundled.ts",
  "plugin-directory.ts",
  "plugin-host.ts",
  "plugin-worker.ts",
  "plugin-configurator.ts",
  "plugin-reader.ts",
  "plugin-settings.ts",
  "providers.ts",
  "upstream-provider.ts",
  "cli",
  "testing",
]

interface Import {
  readonly file: string
  readonly target: string
}

function importsOf(pattern: string): readonly Import[] {
  const statement =
    /(?:^|\n)\s*(?:import|export)\b[^"'\n]*?(?:from\s*)?["']([^"']+)["']|import\(\s*["']([^"']+)["']/g
  return [...new Glob(pattern).scanSync({ cwd: ROOT })].flatMap((file) => {
    const oneLine = readFileSync(join(ROOT, file), "utf8").replace(/\{[^{}]*\}\s*from/g, "x from")
    return [...oneLine.matchAll(statement)].map((match) => ({ file, target: match[1] ?? match[2] ?? "" }))
  })
}

function placeOf({ file, target }: Import): string {
  if (!target.startsWith(".")) return target
  return normalize(join(dirname(file), target))
}

test("every folder imports only what the table allows it", () => {
  const violations = importsOf("src/**/*.ts")
    .map((found) => ({ ...found, place: placeOf(found) }))
    .filter(({ place }) => place.startsWith("src/"))
    .filter(({ file, place }) => !isAllowed(file.slice(4), place.slice(4)))
    .map(({ file, place }) => `${file} imports ${place}`)
  expect(violations).toEqual([])
})

test("nothing that serves imports the test harness", () => {
  const importers = importsOf("src/**/*.ts").filter(({ file }) => !/^src\/(?:testing|cli)\//.test(file))
  expect(importers.filter((found) => placeOf(found).startsWith("src/testing/"))).toEqual([])
})

test("only http imports Elysia, and plugins share it through the plugin host", () => {
  const importers = importsOf("src/**/*.ts")
    .filter(({ target }) => target === "elysia")
    .map(({ file }) => file)
  expect(importers.length).toBeGreaterThan(0)
  expect(importers.filter((file) => !file.startsWith("src/http/"))).toEqual([])
})

test("bundled plugins import only leapgate/plugin and packages", () => {
  const imports = importsOf("plugins/**/*.ts").filter(({ file }) => !file.endsWith(".test.ts"))
  expect(imports.length).toBeGreaterThan(0)
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"))
  const allowed = ["leapgate/plugin", ...Object.keys(dependencies)]
  expect(imports.filter(({ target }) => !allowed.includes(target))).toEqual([])
})

function isAllowed(from: string, to: string): boolean {
  const place = from.includes("/") ? (from.split("/")[0] ?? "") : from
  const allowed = ALLOWED[place]
  // gateway.ts, main.ts, cli/, testing/ and bundled.ts put the parts together: they may import everything.
  if (allowed === undefined) return COMPOSERS.includes(place)
  return to.startsWith(`${place}/`) || allowed.some((part) => to === part || to.startsWith(`${part}/`))
}
