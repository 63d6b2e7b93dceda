import { describe, expect, test } from "bun:test"
import { faultLines, loadText } from "../support/config.ts"

const paths = (text: string, env: Record<string, string> = {}) =>
  faultLines(text, env).map((line) => line.replace(/^\S+ /, ""))

describe("names and keys", () => {
  test("two providers cannot have one name", () => {
    expect(
      paths('providers: [{ name: a, base_url: "http://a" }, { name: a, base_url: "http://b" }]'),
    ).toEqual(["providers[1].name is the same as providers[0].name; each must be different"])
  })

  test("a provider that is left out still counts for names", () => {
    const text = `providers: [{ name: a, base_url: "http://a", api_key: "\${NOPE}" }, { name: a, base_url: "http://b" }]`
    expect(paths(text)).toHaveLength(1)
  })

  test("two keys cannot have one value", () => {
    expect(paths("auth: { keys: [{ name: a, key: same }, { name: b, key: same }] }")).toEqual([
      "auth.keys[1].key is the same as auth.keys[0].key; each must be different",
    ])
  })

  test("a key that no header can carry is a fault", () => {
    const env = { KEY: "abc\n" }
    const message = "holds a space, a line break or another character that no header can carry"
    expect(paths(`auth: { keys: [{ name: a, key: "\${KEY}" }] }`, env)).toEqual([
      `auth.keys[0].key ${message}`,
    ])
    expect(paths(`providers: [{ name: a, base_url: "http://a", api_key: "\${KEY}" }]`, env)).toEqual([
      `providers[0].api_key ${message}`,
    ])
  })
})

describe("aliases", () => {
  test("one that names itself is a fault", () => {
    expect(paths("models: { fast: [groq/x, fast] }")).toEqual([
      'models.fast[1] is the alias itself; write "provider/model"',
    ])
  })

  test("one that names a provider which is not in the file is a warning: a plugin may bring it", () => {
    const { warnings } = loadText(`
providers: [{ name: groq, base_url: "http://a" }]
models: { fast: [groqq/x, mine/y, groq/z, plain] }
`)
    expect(warnings).toEqual([
      'config.yaml:3:18 models.fast[0] names the provider "groqq", which is not in this file; did you mean "groq"?',
      'config.yaml:3:27 models.fast[1] names the provider "mine", which is not in this file; unless a plugin brings it, it is never tried',
    ])
  })

  test("no provider of the file means that providers are discovered, and nothing is known about their names", () => {
    expect(loadText("models: { fast: [groq/x] }").warnings).toEqual([])
  })
})

describe("the admin listener", () => {
  test.each(["127.0.0.1:8080", "localhost:8080", "0.0.0.0:8080", "[::]:8080"])(
    "%s is the main one",
    (listen) => {
      expect(paths(`admin: { listen: "${listen}" }`)).toEqual([
        "admin.listen is the address of the main listener; choose another port, or leave it empty to share that one",
      ])
    },
  )

  test.each(["127.0.0.1:8081", "10.0.0.1:8080"])("%s is another one", (listen) => {
    expect(loadText(`admin: { listen: "${listen}" }`).config.admin.listen).toBe(listen)
  })

  test("free ports never collide", () => {
    expect(loadText('server: { port: 0 }\nadmin: { listen: "127.0.0.1:0" }').config.server.port).toBe(0)
  })
})

describe("packages", () => {
  const packages = (...specs: readonly string[]) => paths(`plugins: { packages: ${JSON.stringify(specs)} }`)

  test("one that is listed twice is a fault", () => {
    expect(packages("x@1.0.0", "@s/x@1.0.0", "x@2.0.0")).toEqual([
      'plugins.packages[2] is the package "x" again; a plugin runs in one version',
    ])
  })

  test.each(["x", "x@latest", "x@^1.0.0", "../x@1.0.0", "/x@1.0.0", "@s/../x@1.0.0", "-g@1.0.0", ".x@1.0.0"])(
    "%j is a fault: it is no package with an exact version",
    (spec) => {
      const message = 'must be a package with its exact version, such as "leapgate-plugin-x@1.2.3"'
      expect(packages(spec)).toEqual([`plugins.packages[0] ${message}, got ${JSON.stringify(spec)}`])
    },
  )
})
