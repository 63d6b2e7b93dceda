import { describe, expect, test } from "bun:test"
import { NameRegister } from "../../src/telemetry/foreign-metrics.ts"
import { parsePrometheusText } from "../../src/telemetry/prometheus-text.ts"
import { MetricStore } from "../../src/telemetry/store.ts"
import { renderMetrics } from "../support/render-metrics.ts"
import { parseExposition } from "./exposition-parser.ts"

/** The example of the format's specification, with a whole histogram. */
const SPECIFIED = `# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",error="Cannot find file:\\n\\"FILE.TXT\\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="0.1"} 33444
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# Finally a summary, which has a complex representation, too:
# HELP rpc_duration_seconds A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds{quantile="0.5"} 4773
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
`

describe("reading", () => {
  test("the example of the specification is understood", () => {
    const families = parsePrometheusText(SPECIFIED)
    expect(families.map(({ name, type, samples, line }) => [name, type, samples.length, line])).toEqual([
      ["http_requests_total", "counter", 2, 1],
      ["msdos_file_access_time_seconds", "untyped", 1, 7],
      ["metric_without_timestamp_and_labels", "untyped", 1, 10],
      ["something_weird", "untyped", 1, 13],
      ["http_request_duration_seconds", "histogram", 5, 16],
      ["rpc_duration_seconds", "summary", 4, 25],
    ])
    expect(families[1]?.samples[0]?.labels).toEqual([
      ["path", "C:\\DIR\\FILE.TXT"],
      ["error", 'Cannot find file:\n"FILE.TXT"'],
    ])
    expect(families[3]?.samples[0]).toMatchObject({ value: Number.POSITIVE_INFINITY, timestamp: -3982045 })
  })

  test.each([
    ["nothing", ""],
    ["blanks and tabs between the parts", '  a{ x = "1" , y="2", }\t 1   5 \n'],
    ["a comment that is none of theirs", "#HELP\n# anything\n#\n"],
    ["a family without samples", "# TYPE a counter\n"],
    ["Go's numbers", "a 1e3\nb -.5\nc NaN\nd Inf\ne -inf\n"],
    ["label values with braces and commas", 'a{x="},{\\\\"} 1\n'],
  ])("%s is fine", (_, text) => {
    parsePrometheusText(text)
  })

  test.each([
    ["no line feed at the end", "a 1\nb 2", "line 2: the last line lacks"],
    ["a name with a dash", "a-b 1\n", 'line 1: "-b" is no number'],
    ["no value", "a\n", 'line 1: "" is no number'],
    ["a word for a value", "a one\n", 'line 1: "one" is no number'],
    ["a hexadecimal value", "a 0x10\n", "is no number"],
    ["a timestamp with a fraction", "a 1 1.5\n", "a timestamp is a whole number"],
    ["something behind the timestamp", "a 1 2 3\n", "behind the timestamp"],
    ["labels that never end", 'a{x="1 1\n', "labels are written"],
    ["labels without quotes", "a{x=1} 1\n", "labels are written"],
    ["an unknown escape", 'a{x="\\t"} 1\n', "is no escape"],
    ["a label twice", 'a{x="1",x="2"} 1\n', "the label x is there twice"],
    ["a label of Prometheus' own", 'a{__name__="b"} 1\n', "Prometheus' own"],
    ["a sample twice", 'a{x="1",y="2"} 1\na{y="2",x="1"} 1\n', "line 2: a second sample a"],
    ["a family in two places", 'a 1\nb 1\na{x="1"} 1\n', "line 3: the lines of a do not stand together"],
    ["TYPE behind samples", "a 1\n# TYPE a counter\n", "line 2: the TYPE of a comes after its samples"],
    ["two TYPEs", "# TYPE a counter\n# TYPE a gauge\na 1\n", "line 2: a second TYPE"],
    ["two HELPs", "# HELP a x\n# HELP a y\na 1\n", "line 2: a second HELP"],
    ["an unknown TYPE", "# TYPE a info\na 1\n", '"info" is none of'],
    ["a TYPE of nothing", "# TYPE\n", "followed by the name"],
    ["a counter below zero", "# TYPE a counter\na -1\n", "line 2: a counts"],
    ["a counter that is no number", "# TYPE a counter\na NaN\n", "line 2: a counts"],
    ["a histogram's bare name", "# TYPE a histogram\na 1\n", "line 2: a is a histogram"],
    ["a bucket without a bound", "# TYPE a histogram\na_bucket 1\n", "lacks the label le"],
    ["a bucket with a bound that is no number", '# TYPE a histogram\na_bucket{le="x"} 1\n', "is no number"],
    ["a quantile without one", "# TYPE a summary\na 1\n", "lacks the label quantile"],
    [
      "a histogram without +Inf",
      '# TYPE a histogram\na_bucket{le="1"} 1\na_count 1\n',
      "line 1: each series",
    ],
    [
      "buckets that fall",
      '# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_count 1\n',
      "line 1: each series",
    ],
    [
      "a bound in two spellings",
      '# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="1.0"} 1\na_bucket{le="+Inf"} 1\na_count 1\n',
      "line 3: a second sample",
    ],
    [
      "OpenMetrics",
      "# TYPE a counter\na_total 1\n# EOF\n# TYPE a_total counter\n",
      "comes after its samples",
    ],
  ])("%s is refused with its line", (_, text, message) => {
    expect(() => parsePrometheusText(text)).toThrow(message)
  })

  test("there is a limit to bytes and samples", () => {
    const samples = (count: number) => Array.from({ length: count }, (_, i) => `a{x="${i}"} 1\n`).join("")
    expect(parsePrometheusText(samples(10_000))[0]?.samples).toHaveLength(10_000)
    expect(() => parsePrometheusText(samples(10_001))).toThrow("line 10001: more than 10000 samples")
    expect(() => parsePrometheusText(`# ${"x".repeat(1024 * 1024)}\n`)).toThrow("larger than")
  })
})

describe("names", () => {
  test.each([
    ["a gauge of the gateway", "leapgate_streams_active 1\n"],
    ["a counter of the gateway", "# TYPE leapgate_attempts_total counter\nleapgate_attempts_total 1\n"],
    ["the same counter as OpenMetrics calls it", "leapgate_attempts 1\n"],
    ["a sample of a histogram of the gateway", "leapgate_overhead_seconds_count 1\n"],
    ["what another has taken", "theirs_total 1\n"],
    ["what another histogram's samples are called", "durations_sum 1\n"],
  ])("%s is taken", (_, text) => {
    const names = new NameRegister()
    for (const family of parsePrometheusText(
      '# TYPE theirs counter\ntheirs 1\n# TYPE durations histogram\ndurations_bucket{le="+Inf"} 1\ndurations_count 1\n',
    )) {
      expect(names.claim(family)).toBe(true)
    }
    expect(parsePrometheusText(text).map((family) => names.claim(family))).toEqual([false])
  })
})

describe("writing", () => {
  const write = (text: string, accept?: string) =>
    renderMetrics(new MetricStore(), accept, parsePrometheusText(text)).body
  const OPEN_METRICS = "application/openmetrics-text"
  const ORDINARY = `# HELP a_total Says "this" with a \\\\ and a\\nline
# TYPE a_total counter
a_total{x="q\\"\\\\\\n"} 1
# HELP b Counts too
# TYPE b counter
b 2
# HELP c Goes up and down
# TYPE c gauge
c{x="1"} -0.5
# HELP d Buckets in any order
# TYPE d histogram
d_bucket{le="+Inf",x="1"} 3
d_count{x="1"} 3
d_bucket{le="0.5",x="1"} 1
d_bucket{x="1",le="1e6"} 2
d_sum{x="1"} 4
`

  test("the text format keeps names and types", () => {
    const families = parseExposition(write(ORDINARY).replace(/^# TYPE b counter$/m, "# TYPE b gauge"), "text")
    expect([...families.values()].map(({ name, type }) => [name, type])).toEqual([
      ["a_total", "counter"],
      ["b", "gauge"],
      ["c", "gauge"],
      ["d", "histogram"],
    ])
    expect(write(ORDINARY)).toContain('# HELP a_total Says "this" with a \\\\ and a\\nline\n')
    expect(write(ORDINARY)).toContain('d_bucket{x="1",le="1e+06"} 2\n')
  })

  test("OpenMetrics has counters with _total and without, and ends with # EOF", () => {
    const body = write(ORDINARY, OPEN_METRICS)
    const families = parseExposition(body, "openmetrics")
    expect([...families.values()].map(({ name, type }) => [name, type])).toEqual([
      ["a", "counter"],
      ["b", "counter"],
      ["c", "gauge"],
      ["d", "histogram"],
    ])
    expect(body).toContain('# HELP a Says \\"this\\" with a \\\\ and a\\nline\n')
    expect(body).toContain("b_total 2\n")
    expect(body).toContain('le="1e+06"')
  })

  test("summaries, untyped metrics and timestamps are written as each format has them", () => {
    const text = '# TYPE s summary\ns{quantile="0"} 1\ns{quantile="0.50"} 1 1500\ns_sum 1\ns_count 1\nu 1\n'
    expect(write(text)).toBe(
      '# TYPE s summary\ns{quantile="0"} 1\ns{quantile="0.5"} 1 1500\ns_sum 1\ns_count 1\n# TYPE u untyped\nu 1\n',
    )
    expect(write(text, OPEN_METRICS)).toBe(
      '# TYPE s summary\ns{quantile="0.0"} 1\ns{quantile="0.5"} 1 1.5\ns_sum 1\ns_count 1\n# TYPE u unknown\nu 1\n# EOF\n',
    )
  })

  const promtool = Bun.which("promtool")
  test.skipIf(promtool === null)("promtool can read it", async () => {
    const child = Bun.spawn([promtool ?? "", "check", "metrics"], {
      stdin: new Blob([write(SPECIFIED + ORDINARY)]),
      stdout: "pipe",
      stderr: "pipe",
    })
    const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()])
    // What it says is about style: HELP that is missing, names without _total.
    expect(out + err).not.toContain("error while linting")
    expect(out + err).toContain("b counter metrics should have")
    expect(await child.exited).toBeOneOf([0, 3])
  })
})
