import { afterEach, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { loadConfig } from "../../src/config/load.ts"
import { faultsIn, loadText, refusalOf } from "../support/config.ts"

const directories: string[] = []

function folder(): string {
  const directory = mkdtempSync(join(tmpdir(), "leapgate-config-"))
  directories.push(directory)
  return directory
}

afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
})

describe("which file is read", () => {
  test("the built-in config is used where there is no file, and loads without any environment", () => {
    const cwd = folder()
    const loaded = loadConfig({ env: {}, cwd })
    expect(loaded).toMatchObject({ path: undefined, directory: cwd, warnings: [], skippedProviders: [] })
    expect(loaded.config.server).toMatchObject({ host: "127.0.0.1", port: 8080 })
  })

  test("config.yaml of the working directory is found", () => {
    const cwd = folder()
    writeFileSync(join(cwd, "config.yaml"), "server: { port: 9001 }")
    const loaded = loadConfig({ env: {}, cwd })
    expect(loaded.config.server.port).toBe(9001)
    expect(loaded.path).toBe(join(cwd, "config.yaml"))
  })

  test("a named file is read, and its folder is what paths are relative to", () => {
    const cwd = folder()
    mkdirSync(join(cwd, "etc"))
    writeFileSync(join(cwd, "etc/gate.yaml"), "server: { port: 9002 }")
    const loaded = loadConfig({ path: "etc/gate.yaml", env: {}, cwd })
    expect(loaded.config.server.port).toBe(9002)
    expect(loaded.directory).toBe(join(cwd, "etc"))
  })

  test("a named file that is not there is an error, never the default", () => {
    expect(() => loadConfig({ path: "nope.yaml", env: {}, cwd: folder() })).toThrow(
      "the config file nope.yaml cannot be read: there is no such file",
    )
  })
})

describe("defaults", () => {
  test("the config that the project ships says exactly what the defaults are", () => {
    const { plugins: shipped, ...rest } = loadConfig({ env: {}, cwd: folder() }).config
    const { plugins: defaults, ...others } = loadText("").config
    expect(rest).toEqual(others)
    expect({ ...shipped, configs: {} }).toEqual(defaults)
  })

  test("every section of the config is shown in the file that the project ships", async () => {
    const text = await Bun.file(join(import.meta.dir, "../../config.yaml")).text()
    for (const section of Object.keys(loadText("").config)) expect(text).toContain(`\n${section}:`)
  })

  test("a section whose lines are all commented out means its defaults", () => {
    expect(loadText("server:\nmodels:\nplugins:\n  configs:\n").config).toEqual(loadText("").config)
  })

  test("durations become milliseconds and sizes bytes", () => {
    const { server } = loadText("server: { body_limit: 1.5KiB, drain_timeout: 2m }").config
    expect(server).toMatchObject({ body_limit: 1536, drain_timeout: 120_000 })
  })

  test("what the command line says wins over the file", () => {
    const options = { text: "server: { host: 10.0.0.1, port: 1 }", env: {}, cwd: "/" }
    const { server } = loadConfig({ ...options, overrides: { port: 2 } }).config
    expect(server).toMatchObject({ host: "10.0.0.1", port: 2 })
  })

  test("and so does the admin's address that processes before have had", () => {
    const options = { path: "config.yaml", text: 'admin: { listen: "127.0.0.1:0" }', env: {}, cwd: "/" }
    const { admin } = loadConfig({ ...options, overrides: { adminListen: "127.0.0.1:4321" } }).config
    expect(admin.listen).toBe("127.0.0.1:4321")
  })
})

describe("aliases and merges of YAML", () => {
  test("a merged mapping gives what is not written down", () => {
    const { providers } = loadText(`
providers:
  - { name: a, base_url: "http://a", timeout: &slow { connect: 9s, total: 1h } }
  - { name: b, base_url: "http://b", timeout: { <<: *slow, connect: 1s } }
`).config
    expect(providers[1]?.timeout).toMatchObject({ connect: 1000, total: 3_600_000 })
  })

  test("of several merged mappings the first wins", () => {
    const { providers } = loadText(`
providers:
  - { name: a, base_url: "http://a", timeout: &one { connect: 1s } }
  - { name: b, base_url: "http://b", timeout: &two { connect: 2s, total: 2m } }
  - { name: c, base_url: "http://c", timeout: { <<: [*one, *two] } }
`).config
    expect(providers[2]?.timeout).toMatchObject({ connect: 1000, total: 120_000 })
  })

  test("a fault in a merged mapping is reported where the value that counts is written", () => {
    const [fault] = faultsIn(`
providers:
  - { name: a, base_url: "http://a", timeout: &one { connect: 1 s } }
  - { name: b, base_url: "http://b", timeout: &two { connect: 2s } }
  - { name: c, base_url: "http://c", timeout: { <<: [*one, *two] } }
`).filter(({ path }) => path.startsWith("providers[2]"))
    expect(fault).toMatchObject({ line: 3, column: 63 })
  })

  test("a mapping that holds itself is a fault", () => {
    expect(refusalOf("models: &a { x: *a }").message).toContain("nested deeper than 64")
  })

  test("aliases that multiply without end are a fault", () => {
    const levels = Array.from(
      { length: 9 },
      (_, level) => `l${level + 1}: &l${level + 1} [${Array(9).fill(`*l${level}`)}]`,
    )
    expect(refusalOf(`l0: &l0 [x]\n${levels.join("\n")}`).message).toContain("more than 100000 values")
  })

  test("a key called __proto__ reaches no prototype", () => {
    loadText('plugins: { configs: { x: { config: { "__proto__": { polluted: true } } } } }')
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })
})
