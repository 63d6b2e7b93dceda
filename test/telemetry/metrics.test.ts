import { expect, test } from "bun:test"
import { METRICS, type MetricName, type MetricSpec } from "../../src/telemetry/metrics.ts"
import { prometheusNames } from "../../src/telemetry/prometheus.ts"

const TABLE = Object.entries(METRICS) as [MetricName, MetricSpec][]

test("a histogram has ascending buckets, and nothing else has any", () => {
  for (const [name, spec] of TABLE) {
    const buckets = spec.buckets ?? []
    expect(buckets.length > 0, name).toBe(spec.kind === "histogram")
    expect(
      [...new Set(buckets)].sort((a, b) => a - b),
      name,
    ).toEqual([...buckets])
  }
})

test("no two metrics have one name in Prometheus", () => {
  const names = TABLE.map(([name, spec]) => prometheusNames(name, spec).family)
  expect(new Set(names).size).toBe(names.length)
})

test("a help text is one line that needs no escaping", () => {
  for (const [name, { help }] of TABLE) expect(help, name).toMatch(/^[A-Z0-9][^\\"\n]+[^.]$/)
})

test("names in Prometheus carry the product, the unit and the kind", () => {
  expect(TABLE.map(([name, spec]) => [name, prometheusNames(name, spec).sample] as const)).toEqual(
    expect.arrayContaining([
      ["gateway.hook.duration", "leapgate_hook_duration_seconds"],
      ["gateway.attempts", "leapgate_attempts_total"],
      ["gateway.plugin.state", "leapgate_plugin_state"],
      ["http.server.request.duration", "http_server_request_duration_seconds"],
      ["gen_ai.client.token.usage", "gen_ai_client_token_usage"],
      ["process.memory.usage", "process_memory_usage_bytes"],
      ["process.cpu.time", "process_cpu_time_seconds_total"],
    ]),
  )
})

test("the reference page has one row for each metric, and no other", async () => {
  const page = await Bun.file(new URL("../../docs/reference/metrics.md", import.meta.url)).text()
  const rows = page.split("\n").filter((line) => /^\| `[a-z_]+\./.test(line))
  const withoutPadding = (row: string) => row.replace(/ +/g, " ")
  expect(rows.map(withoutPadding)).toEqual(TABLE.map(([name, spec]) => withoutPadding(rowOf(name, spec))))
})

test("the reference page tells the buckets of every histogram", async () => {
  const page = await Bun.file(new URL("../../docs/reference/metrics.md", import.meta.url)).text()
  for (const [name, { buckets }] of TABLE) {
    if (buckets === undefined) continue
    const line = page
      .split("\n")
      .find((candidate) => candidate.startsWith("- ") && candidate.includes(`\`${name}\``))
    expect(line, name).toEndWith(`: ${buckets.join(", ")}`)
  }
})

function rowOf(name: string, spec: MetricSpec): string {
  const labels = spec.labels.map((label) => `\`${label.replaceAll(".", "_")}\``).join(", ")
  return `| \`${name}\` | \`${prometheusNames(name, spec).sample}\` | ${spec.kind} | ${spec.unit} | ${labels} | ${spec.help} |`
}
