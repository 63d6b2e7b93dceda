import { expect, test } from "bun:test"
import { type ExpositionFormat, parseExposition } from "./exposition-parser.ts"

const HISTOGRAM =
  '# HELP h help\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'

test("well-formed text is read", () => {
  const family = parseExposition(
    '# HELP a_total A\n# TYPE a_total counter\na_total{x="q\\"\\\\\\n"} 2\n',
    "text",
  ).get("a_total")
  expect(family).toEqual({
    name: "a_total",
    type: "counter",
    help: "A",
    unit: undefined,
    samples: [{ name: "a_total", labels: { x: 'q"\\\n' }, value: 2 }],
  })
  expect(parseExposition(HISTOGRAM, "text").get("h")?.samples).toHaveLength(4)
})

test.each<[string, ExpositionFormat, string]>([
  ["no line end", "text", "# HELP a A\n# TYPE a gauge\na 1"],
  ["no end mark", "openmetrics", "# HELP a A\n# TYPE a gauge\na 1\n"],
  ["an end mark too early", "openmetrics", "# EOF\n# HELP a A\n# TYPE a gauge\na 1\n# EOF\n"],
  ["a blank line", "text", "# HELP a A\n# TYPE a gauge\n\na 1\n"],
  ["a sample before its type", "text", "a 1\n"],
  [
    "a group that goes on later",
    "text",
    `# HELP a A\n# TYPE a gauge\na 1\n${HISTOGRAM}# HELP a A\n# TYPE a gauge\na 2\n`,
  ],
  ["a sample of another family", "text", "# HELP a A\n# TYPE a gauge\nb 1\n"],
  ["the same sample twice", "text", '# HELP a A\n# TYPE a gauge\na{x="1",y="2"} 1\na{y="2",x="1"} 1\n'],
  ["a label twice", "text", '# HELP a A\n# TYPE a gauge\na{x="1",x="2"} 1\n'],
  ["a raw quote in a label", "text", '# HELP a A\n# TYPE a gauge\na{x="1"2"} 1\n'],
  ["a dot in a name", "text", "# HELP a.b A\n# TYPE a.b gauge\na.b 1\n"],
  ["a value that is no number", "text", "# HELP a A\n# TYPE a gauge\na Infinity\n"],
  ["a counter without _total", "text", "# HELP a A\n# TYPE a counter\na 1\n"],
  [
    "an OpenMetrics counter sample without _total",
    "openmetrics",
    "# HELP a A\n# TYPE a counter\na 1\n# EOF\n",
  ],
  [
    "a unit that is not in the name",
    "openmetrics",
    "# HELP a A\n# TYPE a gauge\n# UNIT a seconds\na 1\n# EOF\n",
  ],
  ["a family without samples", "text", "# HELP a A\n# TYPE a gauge\n"],
  ["a histogram without +Inf", "text", HISTOGRAM.replace("+Inf", "2")],
  ["a histogram whose count is not its last bucket", "text", HISTOGRAM.replace("h_count 2", "h_count 3")],
  ["a histogram whose counts fall", "text", HISTOGRAM.replace('le="1"} 1', 'le="1"} 5')],
  ["a histogram without a sum", "text", HISTOGRAM.replace("h_sum 3\n", "")],
])("%s is refused", (_, format, body) => {
  expect(() => parseExposition(body, format)).toThrow()
})
