/** What holds for every page: its links lead somewhere, and what it names exists. */
import { describe, expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { Glob } from "bun"
import packageJson from "../../package.json" with { type: "json" }
import { METRICS, type MetricSpec } from "../../src/telemetry/metrics.ts"
import { prometheusNames } from "../../src/telemetry/prometheus.ts"
import { loadText } from "../support/config.ts"
import { REPOSITORY, readPage } from "./page.ts"

const PAGES = ["*.md", "docs/**/*.md", "grafana/*.md"]
  .flatMap((pattern) => [...new Glob(pattern).scanSync({ cwd: REPOSITORY })])
  .sort()

describe.each(PAGES.map((path) => [path] as const))("%s", (path) => {
  test("has only links that lead somewhere", async () => {
    const { text } = await readPage(path)
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link)
    const broken = await Promise.all(
      links
        .filter((link) => !link.startsWith("https://"))
        .map(async (link) => ((await leadsSomewhere(path, link)) ? [] : [link])),
    )
    expect(broken.flat()).toEqual([])
  })

  test("names only metrics that are there", async () => {
    const { text } = await readPage(path)
    const named = [...text.matchAll(/\bleapgate_[a-z_]+/g)].map(([name]) => name)
    expect(named.filter((name) => !SAMPLES.has(name))).toEqual([])
  })

  test("names only files and scripts that are there", async () => {
    const { text } = await readPage(path)
    const files = [...text.matchAll(/`((?:src|test|bench|docs|\.ci)\/[\w./-]+)`/g)].map(
      ([, file = ""]) => file,
    )
    expect(files.filter((file) => !existsSync(join(REPOSITORY, file)))).toEqual([])
    const scripts = [...text.matchAll(/\bbun(?:@[\d.]+)? run ([\w:]+)/g)].map(([, script = ""]) => script)
    expect(scripts.filter((script) => !Object.keys(packageJson.scripts).includes(script))).toEqual([])
  })

  test("has only examples of the config that are valid", async () => {
    const { blocks } = await readPage(path)
    const examples = blocks.filter(({ language, text }) => language === "yaml" && !IS_NO_EXAMPLE.test(text))
    for (const { text, place } of examples) {
      expect({ place, ...loadText(text, ENVIRONMENT) }).toMatchObject({ place, skippedProviders: [] })
    }
  })

  test("names the version of Bun that the package asks for", async () => {
    const { text } = await readPage(path)
    const versions = [...text.matchAll(/\bbun@([\d.]+)/g)].map(([, version = ""]) => `bun@${version}`)
    expect(versions.filter((version) => version !== packageJson.packageManager)).toEqual([])
  })
})

test("the changelog has this version", async () => {
  expect((await readPage("CHANGELOG.md")).text).toContain(`## [${packageJson.version}]`)
})

/** Prometheus' own config, and the one that shows faults. */
const IS_NO_EXAMPLE = /^(?:scrape_configs|server: \{ prot)/
const ENVIRONMENT = { OPENAI_API_KEY: "sk-for-the-examples" }

const SAMPLES: ReadonlySet<string> = new Set(
  Object.entries<MetricSpec>(METRICS).flatMap(([name, spec]) => {
    const { family, sample } = prometheusNames(name, spec)
    return [family, sample, `${family}_bucket`, `${family}_sum`, `${family}_count`]
  }),
)

async function leadsSomewhere(from: string, link: string): Promise<boolean> {
  const [file = "", anchor] = link.split("#")
  const target = file === "" ? from : normalize(join(dirname(from), file))
  if (!existsSync(join(REPOSITORY, target))) return false
  return anchor === undefined || (await anchorsOf(target)).includes(anchor)
}

/** As GitHub makes them. */
async function anchorsOf(path: string): Promise<readonly string[]> {
  const { text } = await readPage(path)
  return [...text.replace(/^```.*?^```$/gms, "").matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  )
}
