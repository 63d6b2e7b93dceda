import { beforeEach, describe, expect, test } from "bun:test"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { pluginText, temporaryDirectory } from "../plugin/fixtures.ts"
import { type PublishedPackage, startNpmRegistry } from "../support/npm-registry.ts"
import { runCommand } from "../support/terminal.ts"

let cwd: string

beforeEach(() => {
  cwd = temporaryDirectory()
})

function write(path: string, text: string): string {
  const file = join(cwd, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
  return file
}

const read = (path: string) => readFileSync(join(cwd, path), "utf8")
const isThere = (path: string) => existsSync(join(cwd, path))
const plugin = (...args: string[]) => runCommand(["plugin", ...args], { cwd })
const geo = (version = "1.0.0") =>
  pluginText({ name: "geo", version, setup: `throw new Error("nobody asked for this")` })

describe("plugin install of a file or folder", () => {
  test("copies a file, and says what is next", async () => {
    write("there/geo.ts", geo())
    expect(await plugin("install", "./there/geo.ts")).toEqual({
      exitCode: 0,
      out: `installed geo 1.0.0 (monitoring) as ${cwd}/plugins/geo.ts
a running gateway loads it by itself; its settings go to plugins.configs.geo in config.yaml`,
      err: "",
    })
    expect(read("plugins/geo.ts")).toBe(geo())
    expect(readdirSync(join(cwd, "plugins"))).toEqual(["geo.ts"])
  })

  test("copies a folder with all that is in it", async () => {
    write("there/geo/index.ts", pluginText({ name: "geo", top: `import "./lib/a.ts"` }))
    write("there/geo/lib/a.ts", "export {}")
    expect((await plugin("install", "there/geo")).exitCode).toBe(0)
    expect(isThere("plugins/geo/lib/a.ts")).toBe(true)
  })

  test("does not write over what is there, unless it is told to", async () => {
    write("plugins/geo/index.ts", geo("1.0.0"))
    write("plugins/geo/old.txt", "")
    write("there/geo/index.ts", geo("2.0.0"))
    const { exitCode, err } = await plugin("install", "./there/geo")
    expect(exitCode).toBe(1)
    expect(err).toContain(`${cwd}/plugins/geo is there already; use --force to replace it`)
    expect(read("plugins/geo/index.ts")).toBe(geo("1.0.0"))
    expect((await plugin("install", "./there/geo", "--force")).exitCode).toBe(0)
    expect(read("plugins/geo/index.ts")).toBe(geo("2.0.0"))
    expect(readdirSync(join(cwd, "plugins/geo"))).toEqual(["index.ts"])
    expect(readdirSync(join(cwd, "plugins"))).toEqual(["geo"])
  })

  test.each([
    ["that does not build", "export default {{{", "geo.ts:1:17"],
    ["that is no plugin", "export default 1", "geo.ts"],
    ["that takes files from elsewhere", `import "../x.ts"\n${geo()}`, "geo.ts"],
  ])("puts nothing in place %s", async (_, text, place) => {
    write("x.ts", "export {}")
    write("there/geo.ts", text)
    const { exitCode, err } = await plugin("install", "./there/geo.ts")
    expect(exitCode).toBe(1)
    expect(err).toContain(`it was not installed: ${join(cwd, "there")}`)
    expect(err).toContain(place)
    expect(readdirSync(join(cwd, "plugins"))).toEqual([])
  })

  test("puts nothing in place whose name another plugin has", async () => {
    write("plugins/first.ts", geo())
    write("there/second.ts", geo())
    const { exitCode, err } = await plugin("install", "./there/second.ts")
    expect(exitCode).toBe(1)
    expect(err).toContain('there is a plugin "geo" in first.ts')
    expect(readdirSync(join(cwd, "plugins"))).toEqual(["first.ts"])
  })

  test("refuses a folder that holds the plugin directory", async () => {
    write("index.ts", geo())
    mkdirSync(join(cwd, "plugins"))
    expect((await plugin("install", ".")).err).toContain(`${cwd} holds the plugin directory itself`)
    expect(readdirSync(join(cwd, "plugins"))).toEqual([])
  })

  test.each(["_geo.ts", "geo.test.ts", "notes.md"])(
    "refuses %s, which no gateway would look at",
    async (name) => {
      write(`there/${name}`, geo())
      const { exitCode, err } = await plugin("install", `./there/${name}`)
      expect(exitCode).toBe(1)
      expect(err).toContain(`there is no plugin at ${cwd}/there/${name}`)
    },
  )

  test("brings the lock up to date, where there is one", async () => {
    write("plugins/one.ts", pluginText({ name: "one" }))
    await plugin("lock")
    const before = JSON.parse(read("plugins/plugins.lock")).plugins
    write("there/geo.ts", geo())
    expect((await plugin("install", "./there/geo.ts")).out).toContain("updated plugins.lock")
    const { geo: added, ...others } = JSON.parse(read("plugins/plugins.lock")).plugins
    expect(others).toEqual(before)
    expect(added).toMatchObject({ version: "1.0.0", source: "geo.ts" })
  })
})

/** As packages are published: in JavaScript. */
function published(version: string, more: Partial<PublishedPackage> = {}): PublishedPackage {
  const transpiler = new Bun.Transpiler({ loader: "ts" })
  const text = transpiler.transformSync(
    pluginText({ name: "geo", version, top: `import tiny from "tiny"; void tiny` }),
  )
  return {
    name: "leapgate-plugin-geo",
    version,
    manifest: { dependencies: { tiny: "^1.0.0" } },
    files: { "index.js": text },
    ...more,
  }
}

const TINY: PublishedPackage = { name: "tiny", version: "1.0.3", files: { "index.js": "module.exports = 1" } }

describe("plugin install of a package", () => {
  const CONFIG = "# mine\nplugins:\n  packages: [] # none yet\n  configs: {}\n"

  test("brings it with what it needs, lists it in the config, and lets it load", async () => {
    write("config.yaml", CONFIG)
    chmodSync(join(cwd, "config.yaml"), 0o600)
    await using registry = await startNpmRegistry([TINY, published("1.0.0"), published("1.1.0")])
    const run = (...args: string[]) => runCommand(["plugin", ...args], { cwd, env: registry.env })

    expect(await run("install", "leapgate-plugin-geo@1.0.0")).toEqual({
      exitCode: 0,
      out: `installed geo 1.0.0 from leapgate-plugin-geo@1.0.0 into ${cwd}/plugins/node_modules
added it to plugins.packages in ${cwd}/config.yaml
a running gateway loads it by itself; its settings go to plugins.configs.geo in ${cwd}/config.yaml`,
      err: "",
    })
    expect(read("config.yaml")).toBe(CONFIG.replace("[]", `["leapgate-plugin-geo@1.0.0"]`))
    expect(statSync(join(cwd, "config.yaml")).mode & 0o777).toBe(0o600)
    expect((await run("list")).out).toMatch(
      /^geo +1\.0\.0 +monitoring +yes +\S+leapgate-plugin-geo\/index\.js$/m,
    )

    await run("lock")
    expect((await run("install", "leapgate-plugin-geo")).out).toContain("updated plugins.lock")
    expect(read("config.yaml")).toBe(CONFIG.replace("[]", `["leapgate-plugin-geo@1.1.0"]`))
    expect(JSON.parse(read("plugins/plugins.lock")).plugins.geo).toMatchObject({
      version: "1.1.0",
      source: "package:leapgate-plugin-geo",
      packages: { "tiny@1.0.3": expect.any(String) },
    })
    expect((await run("lock", "--check")).exitCode).toBe(0)
  })

  test("makes a config where there is none, with what was in effect before", async () => {
    await using registry = await startNpmRegistry([TINY, published("1.0.0")])
    await runCommand(["plugin", "install", "leapgate-plugin-geo"], { cwd, env: registry.env })
    const shipped = readFileSync(join(import.meta.dir, "../../config.yaml"), "utf8")
    expect(read("config.yaml")).toBe(
      shipped.replace("packages: []", `packages: ["leapgate-plugin-geo@1.0.0"]`),
    )
  })

  test("runs no script of it", async () => {
    const scripts = { postinstall: "touch ran", install: "touch ran", preinstall: "touch ran" }
    const manifest = { scripts, dependencies: { tiny: "1.0.3" } }
    await using registry = await startNpmRegistry([TINY, published("1.0.0", { manifest })])
    const { exitCode } = await runCommand(["plugin", "install", "leapgate-plugin-geo"], {
      cwd,
      env: registry.env,
    })
    expect(exitCode).toBe(0)
    expect(isThere("plugins/node_modules/leapgate-plugin-geo/index.js")).toBe(true)
    expect(isThere("plugins/node_modules/leapgate-plugin-geo/ran")).toBe(false)
  })

  test("that is no plugin is undone, and what was there before is there again", async () => {
    write("config.yaml", CONFIG)
    const bad = published("2.0.0", { files: { "index.js": "export default 1" } })
    await using registry = await startNpmRegistry([TINY, published("1.0.0"), bad])
    const install = (spec: string) => runCommand(["plugin", "install", spec], { cwd, env: registry.env })

    const first = await install("tiny")
    expect(first.exitCode).toBe(1)
    expect(first.err).toContain("it was not installed: ")
    expect(isThere("plugins/node_modules/tiny")).toBe(false)
    expect(read("config.yaml")).toBe(CONFIG)

    await install("leapgate-plugin-geo@1.0.0")
    expect((await install("leapgate-plugin-geo@2.0.0")).exitCode).toBe(1)
    expect(read("config.yaml")).toContain("leapgate-plugin-geo@1.0.0")
    expect(JSON.parse(read("plugins/node_modules/leapgate-plugin-geo/package.json")).version).toBe("1.0.0")
  })

  test("that does not exist is an error of the package manager", async () => {
    await using registry = await startNpmRegistry([])
    const { exitCode, err } = await runCommand(["plugin", "install", "leapgate-plugin-nowhere"], {
      cwd,
      env: registry.env,
    })
    expect(exitCode).toBe(1)
    expect(err).toContain("bun add --exact --ignore-scripts leapgate-plugin-nowhere failed in ")
    expect(err).toContain("404")
  })

  test.each(["http://127.0.0.1/x.tgz", "git+ssh://x/y", "--global", "a b", "../x@1.0.0"])(
    "is not %j",
    async (spec) => {
      const { exitCode, err } = await plugin("install", "--", spec)
      expect(exitCode).toBe(1)
      expect(err).toContain(
        spec.startsWith("../") ? "there is no plugin at" : "is neither a file or folder nor",
      )
      expect(isThere("plugins/package.json")).toBe(false)
    },
  )
})

describe("plugin remove", () => {
  test("deletes a file", async () => {
    write("plugins/geo.ts", geo())
    write("plugins/_shared.ts", "")
    expect(await plugin("remove", "geo")).toEqual({
      exitCode: 0,
      out: `removed ${cwd}/plugins/geo.ts`,
      err: "",
    })
    expect(readdirSync(join(cwd, "plugins"))).toEqual(["_shared.ts"])
  })

  test("deletes the test beside a file, and no other plugin's", async () => {
    for (const name of ["constructor", "constructor2"]) {
      write(`plugins/${name}.ts`, pluginText({ name }))
      write(`plugins/${name}.test.ts`, "")
    }
    expect((await plugin("remove", "constructor")).out).toBe(
      `removed ${cwd}/plugins/constructor.ts\nremoved ${cwd}/plugins/constructor.test.ts`,
    )
    expect(readdirSync(join(cwd, "plugins")).sort()).toEqual(["constructor2.test.ts", "constructor2.ts"])
  })

  test("deletes the whole folder of a plugin, and no more of a group", async () => {
    write("plugins/group/geo/package.json", `{ "main": "src/start.ts" }`)
    write("plugins/group/geo/src/start.ts", geo())
    write("plugins/group/other.ts", pluginText({ name: "other" }))
    expect((await plugin("remove", "geo")).out).toBe(`removed ${cwd}/plugins/group/geo`)
    expect(readdirSync(join(cwd, "plugins/group"))).toEqual(["other.ts"])
  })

  test("deletes one that cannot be read, by the name of its file", async () => {
    write("plugins/broken.ts", "export default {{{")
    expect((await plugin("remove", "broken")).exitCode).toBe(0)
    expect(readdirSync(join(cwd, "plugins"))).toEqual([])
  })

  test("takes it out of the lock, and tells where its settings are", async () => {
    write("config.yaml", "plugins: { locked: true, configs: { geo: {} } }\n")
    write("plugins/geo.ts", geo())
    write("plugins/one.ts", pluginText({ name: "one" }))
    await plugin("lock")
    const { out } = await plugin("remove", "geo")
    expect(out).toContain("updated plugins.lock")
    expect(out).toContain(`its settings are left: plugins.configs.geo in ${cwd}/config.yaml`)
    expect(Object.keys(JSON.parse(read("plugins/plugins.lock")).plugins)).toEqual(["one"])
  })

  test.each(["geo", "leapgate-plugin-geo"])(
    "takes a package out of everything, asked for as %s",
    async (name) => {
      write("config.yaml", "# mine\nplugins:\n  packages: []\n")
      await using registry = await startNpmRegistry([TINY, published("1.0.0")])
      const run = (...args: string[]) => runCommand(["plugin", ...args], { cwd, env: registry.env })
      await run("install", "leapgate-plugin-geo")
      await run("lock")
      expect(await run("remove", name)).toEqual({
        exitCode: 0,
        out: `took leapgate-plugin-geo out of plugins.packages in ${cwd}/config.yaml
removed leapgate-plugin-geo from ${cwd}/plugins/node_modules
updated plugins.lock`,
        err: "",
      })
      expect(read("config.yaml")).toBe("# mine\nplugins:\n  packages: []\n")
      expect(isThere("plugins/node_modules/leapgate-plugin-geo")).toBe(false)
      expect(JSON.parse(read("plugins/plugins.lock")).plugins).toEqual({})
    },
  )

  test("refuses a bundled plugin, and says how to switch it off", async () => {
    const { exitCode, err } = await plugin("remove", "rate-limiter")
    expect(exitCode).toBe(1)
    expect(err).toContain(
      "comes with the gateway and cannot be removed; switch it off with plugins.configs.rate-",
    )
  })

  test("refuses a name that nothing has, or two have", async () => {
    write("plugins/a.ts", geo())
    write("plugins/b.ts", geo())
    expect((await plugin("remove", "goe")).err).toContain('no plugin is called "goe"')
    expect((await plugin("remove", "geo")).err).toContain('several plugins are called "geo"')
    expect(readdirSync(join(cwd, "plugins")).sort()).toEqual(["a.ts", "b.ts"])
  })
})
