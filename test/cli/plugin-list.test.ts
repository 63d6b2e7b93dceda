import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { runCommand } from "../support/terminal.ts"

let cwd: string

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "leapgate-plugins-"))
  mkdirSync(join(cwd, "plugins"))
})

afterEach(() => rmSync(cwd, { recursive: true }))

const GEO = `
import { definePlugin, Type } from "leapgate/plugin"
export default definePlugin({
  name: "geo", version: "2.1.0", type: "monitoring", description: "Where callers are",
  config: Type.Object({ zone: Type.String(), limit: Type.Integer({ default: 3 }) }),
  setup() { throw new Error("nobody asked for this") },
})`

describe("plugin list", () => {
  test("shows the plugins of the folder and the bundled ones, and starts none", async () => {
    writeFileSync(join(cwd, "plugins/geo.ts"), GEO)
    const { exitCode, out } = await runCommand(["plugin", "list"], { cwd })
    const [head, ...rows] = out.split("\n")
    expect(head).toMatch(/^NAME +VERSION +TYPE +ENABLED +SOURCE +ERROR$/)
    expect(rows.find((row) => row.startsWith("geo "))).toMatch(/^geo +2\.1\.0 +monitoring +yes +\S+geo\.ts$/)
    expect(rows.find((row) => row.startsWith("rate-limiter "))).toMatch(/ middleware +no /)
    expect(exitCode).toBe(0)
  })

  test("shows why a plugin does not load, and fails", async () => {
    writeFileSync(join(cwd, "plugins/broken.ts"), "export default {{{")
    const { exitCode, out } = await runCommand(["plugin", "list", "--json"], { cwd })
    const plugins = JSON.parse(out) as { source: string; error?: string }[]
    const broken = plugins.filter(({ error }) => error !== undefined)
    expect(broken).toHaveLength(1)
    expect(broken[0]?.source).toContain("broken.ts")
    expect(exitCode).toBe(1)
  })
})

describe("config schema", () => {
  test("holds the schemas of the plugins that are there", async () => {
    writeFileSync(join(cwd, "plugins/geo.ts"), GEO)
    const { exitCode, out } = await runCommand(["config", "schema"], { cwd })
    const { properties } = JSON.parse(out).properties.plugins.properties.configs
    expect(Object.keys(properties)).toContain("rate-limiter")
    expect(properties.geo.properties.config).toMatchObject({ required: ["zone"] })
    expect(exitCode).toBe(0)
  })
})
