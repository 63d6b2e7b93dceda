/**
 * The metrics table. Every metric is declared here once; `docs/reference/metrics.md` is checked against it.
 *
 * Names and units are OpenTelemetry's: HTTP and GenAI semantic conventions (v1.41) where they exist,
 * `gateway.*` for what is ours.
 */
type MetricKind = "counter" | "gauge" | "histogram"

/** UCUM, as OpenTelemetry writes it; a unit in braces only says what is counted. */
export type MetricUnit = "s" | "By" | `{${string}}`

export interface MetricSpec {
  readonly kind: MetricKind
  readonly unit: MetricUnit
  readonly labels: readonly string[]
  readonly help: string
  /** Upper bounds of a histogram's buckets, ascending; the last one, +Inf, is understood. */
  readonly buckets?: readonly number[]
}

/** Whole model calls: 10 ms to 82 s, doubling. Source: GenAI semantic conventions. */
const CALL_BUCKETS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]

/** Time to the first token: 1 ms to 10 s. Source: GenAI semantic conventions. */
const FIRST_TOKEN_BUCKETS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
]

/** Tokens of a call: 1 to 67 million, times four. Source: GenAI semantic conventions. */
const TOKEN_BUCKETS = [
  1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
]

/** HTTP requests. Source: HTTP semantic conventions, with room for long streams above 10 s. */
const HTTP_BUCKETS = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300, 600,
]

/** What the gateway itself spends: 10 µs, about the cost of nothing, to 5 s, a hook's default deadline. */
const OWN_TIME_BUCKETS = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
  0.5, 1, 2.5, 5,
]

export const METRICS = {
  // HTTP in front
  "http.server.request.duration": {
    kind: "histogram",
    unit: "s",
    labels: ["http.request.method", "http.route", "http.response.status_code"],
    help: "Time from a request's first byte to the last byte of its reply",
    buckets: HTTP_BUCKETS,
  },
  "http.server.active_requests": {
    kind: "gauge",
    unit: "{request}",
    labels: [],
    help: "Requests being served now",
  },

  // Model calls
  "gen_ai.client.operation.duration": {
    kind: "histogram",
    unit: "s",
    labels: ["gen_ai.provider.name", "gen_ai.request.model", "error.type"],
    help: "Duration of a call to a provider; error.type is absent where it succeeded",
    buckets: CALL_BUCKETS,
  },
  "gen_ai.client.token.usage": {
    kind: "histogram",
    unit: "{token}",
    labels: ["gen_ai.token.type", "gen_ai.provider.name", "gen_ai.request.model"],
    help: "Tokens of a call, by type: input or output",
    buckets: TOKEN_BUCKETS,
  },
  "gen_ai.server.time_to_first_token": {
    kind: "histogram",
    unit: "s",
    labels: ["gen_ai.provider.name", "gen_ai.request.model"],
    help: "Time from sending a streamed call to a provider to its first chunk",
    buckets: FIRST_TOKEN_BUCKETS,
  },

  // Routing
  "gateway.attempts": {
    kind: "counter",
    unit: "{attempt}",
    labels: ["provider", "outcome"],
    help: "Tries of a call at a provider",
  },
  "gateway.provider.switches": {
    kind: "counter",
    unit: "{switch}",
    labels: ["from", "to", "reason"],
    help: "Calls that went to another provider than the one before",
  },
  "gateway.provider.health": {
    kind: "gauge",
    unit: "{provider}",
    labels: ["provider"],
    help: "1 where a provider that is checked could serve at its last check, else 0",
  },
  "gateway.errors": {
    kind: "counter",
    unit: "{error}",
    labels: ["code"],
    help: "Requests that failed, by error code",
  },
  "gateway.overhead": {
    kind: "histogram",
    unit: "s",
    labels: [],
    help: "Time of a request in the gateway, without the time spent waiting for providers",
    buckets: OWN_TIME_BUCKETS,
  },
  "gateway.streams.active": {
    kind: "gauge",
    unit: "{stream}",
    labels: [],
    help: "Streamed replies being sent now",
  },
  "gateway.stream.end": {
    kind: "counter",
    unit: "{stream}",
    labels: ["outcome"],
    help: "Streamed replies that ended: complete, client_closed, upstream_failed or rejected",
  },

  "gateway.cache.requests": {
    kind: "counter",
    unit: "{request}",
    labels: ["plugin", "result"],
    help: "Requests by what a cache plugin had for them: hit or miss, or bypass where the client wanted no cached reply",
  },

  // Plugins
  "gateway.hook.duration": {
    kind: "histogram",
    unit: "s",
    labels: ["plugin", "hook", "version", "role"],
    help: "Duration of one run of a plugin's hook or ability",
    buckets: OWN_TIME_BUCKETS,
  },
  "gateway.plugin.calls": {
    kind: "counter",
    unit: "{call}",
    labels: ["plugin", "version", "role"],
    help: "Calls into a version of a plugin; role: stable, or canary while it is tried by a share of the requests",
  },
  "gateway.plugin.errors": {
    kind: "counter",
    unit: "{error}",
    labels: ["plugin", "version", "role"],
    help: "Calls into a plugin that threw",
  },
  "gateway.plugin.timeouts": {
    kind: "counter",
    unit: "{timeout}",
    labels: ["plugin", "version", "role"],
    help: "Calls into a plugin that were cut at their deadline",
  },
  "gateway.plugin.skipped": {
    kind: "counter",
    unit: "{call}",
    labels: ["plugin"],
    help: "Calls that were not made because the plugin's breaker had switched it off",
  },
  "gateway.plugin.trips": {
    kind: "counter",
    unit: "{trip}",
    labels: ["plugin"],
    help: "Times that a plugin's breaker switched it off",
  },
  "gateway.plugin.restarts": {
    kind: "counter",
    unit: "{restart}",
    labels: ["plugin"],
    help: "Times that a plugin's worker ended and another one was started",
  },
  "gateway.plugin.blocked": {
    kind: "counter",
    unit: "s",
    labels: ["plugin"],
    help: "Time that a plugin blocked the event loop, in runs longer than plugins.watchdog",
  },
  "gateway.plugin.state": {
    kind: "gauge",
    unit: "{plugin}",
    labels: ["plugin", "state"],
    help: "1 for the state a plugin is in, 0 for the others",
  },
  "gateway.plugin.info": {
    kind: "gauge",
    unit: "{plugin}",
    labels: ["plugin", "version", "type"],
    help: "Always 1; the labels say which version of a plugin serves",
  },
  "gateway.plugin.reloads": {
    kind: "counter",
    unit: "{reload}",
    labels: ["plugin", "outcome"],
    help: "Reloads of a plugin",
  },
  "gateway.plugin.rollbacks": {
    kind: "counter",
    unit: "{rollback}",
    labels: ["plugin", "reason"],
    help: "New versions of a plugin that were taken back; reason: automatic or requested",
  },
  "gateway.plugin.generation": {
    kind: "gauge",
    unit: "{generation}",
    labels: [],
    help: "Grows by one with every change of the set of live plugins",
  },
  "gateway.monitoring.dropped": {
    kind: "counter",
    unit: "{item}",
    labels: ["plugin"],
    help: "Metrics, events and traces that a monitoring plugin was too slow to take",
  },

  // The gateway itself
  "gateway.config.reloads": {
    kind: "counter",
    unit: "{reload}",
    labels: ["outcome"],
    help: "Changes of the configuration file that were read",
  },
  "gateway.telemetry.series_overflow": {
    kind: "counter",
    unit: "{lookup}",
    labels: ["family"],
    help: "Look-ups of a metric's series that went to __overflow__, because the metric is at its limit",
  },
  "gateway.eventloop.lag": {
    kind: "histogram",
    unit: "s",
    labels: [],
    help: "How late a timer fires: work that blocks the process",
    buckets: OWN_TIME_BUCKETS,
  },
  "gateway.build.info": {
    kind: "gauge",
    unit: "{build}",
    labels: ["version", "bun"],
    help: "Always 1; the labels say what runs",
  },
  "process.memory.usage": {
    kind: "gauge",
    unit: "By",
    labels: [],
    help: "Physical memory of the process (resident set)",
  },
  "process.cpu.time": {
    kind: "counter",
    unit: "s",
    labels: ["cpu.mode"],
    help: "CPU time of the process, by mode: user or system",
  },
  "process.uptime": {
    kind: "gauge",
    unit: "s",
    labels: [],
    help: "Time since the process started",
  },
} as const satisfies Record<string, MetricSpec>

export type MetricName = keyof typeof METRICS

/** The names of one kind. */
export type NameOf<K extends MetricKind> = {
  [N in MetricName]: (typeof METRICS)[N]["kind"] extends K ? N : never
}[MetricName]

export type LabelName = (typeof METRICS)[MetricName]["labels"][number]
export type LabelValue = string | number

/** A metric's labels, all of them; an empty value stands for "does not apply". */
export type LabelsOf<N extends MetricName> = Readonly<
  Record<(typeof METRICS)[N]["labels"][number], LabelValue>
>
