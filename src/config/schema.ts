/** The schema of `config.yaml`. Names are snake_case, as in the file; units are decoded to ms and bytes. */
import { type StaticDecode, Type } from "@sinclair/typebox"
import { Bytes, Duration, Percentage } from "./units.ts"

const strict = { additionalProperties: false } as const
const Name = (description: string) =>
  Type.String({
    pattern: "^[a-z0-9][a-z0-9._-]*$",
    errorMessage: "must be lower-case letters, digits, . _ -",
    description,
  })

const ServerSchema = Type.Object(
  {
    host: Type.String({ default: "127.0.0.1", description: "Address to listen on" }),
    port: Type.Integer({ minimum: 0, maximum: 65535, default: 8080, description: "0 picks a free port" }),
    workers: Type.Integer({ minimum: 1, default: 1, description: "Processes that serve, on one port" }),
    body_limit: Bytes({ default: "32MiB", description: "Largest request body" }),
    drain_timeout: Duration({
      default: "30s",
      description: "How long open requests may run on after SIGTERM",
    }),
  },
  { ...strict, default: {} },
)

const AuthSchema = Type.Object(
  {
    mode: Type.Union([Type.Literal("keys"), Type.Literal("open")], {
      default: "keys",
      description: "keys: API keys, or loopback only where none is listed. open: anybody who can connect",
    }),
    keys: Type.Array(
      Type.Object(
        {
          name: Name("Shown in logs and metrics, and to plugins"),
          key: Type.String({ description: `The secret. Use \${ENV} or \${file:/run/secrets/x}` }),
        },
        strict,
      ),
      { default: [] },
    ),
  },
  { ...strict, default: {} },
)

const AdminSchema = Type.Object(
  {
    token: Type.String({ default: "", description: "Bearer token of /admin. Empty: loopback callers only" }),
    listen: Type.String({
      default: "",
      pattern: "^$|^.+:\\d+$",
      errorMessage: 'must be "host:port"',
      description: "Own host:port for /admin and /metrics. Empty: the main listener",
    }),
  },
  { ...strict, default: {} },
)

const ModelSchema = Type.Object(
  {
    id: Type.String({ minLength: 1 }),
    context_length: Type.Optional(Type.Integer({ minimum: 1 })),
    input_cost: Type.Optional(Type.Number({ minimum: 0, description: "US dollars for a million tokens" })),
    output_cost: Type.Optional(Type.Number({ minimum: 0, description: "US dollars for a million tokens" })),
    quality: Type.Optional(
      Type.Number({ minimum: 0, maximum: 1, description: "What quality_first ranks by" }),
    ),
  },
  strict,
)

const TimeoutSchema = Type.Object(
  {
    connect: Duration({ default: "5s" }),
    first_token: Duration({ default: "30s", description: "Until the first event of a stream" }),
    between_chunks: Duration({ default: "30s", description: "Longest silence inside a stream" }),
    total: Duration({ default: "10m", description: "The whole attempt" }),
  },
  { ...strict, default: {} },
)

export const ProviderSchema = Type.Object(
  {
    name: Name("How routes and metrics call it"),
    type: Type.Union([Type.Literal("openai")], {
      default: "openai",
      description: "The wire protocol it speaks",
    }),
    base_url: Type.String({
      pattern: "^https?://[^\\s]+$",
      errorMessage: 'must be a URL such as "https://api.example.com/v1"',
    }),
    api_key: Type.String({ default: "", description: "Sent as a bearer token. Empty: none is sent" }),
    headers: Type.Record(Type.String(), Type.String(), {
      default: {},
      description: "Sent with every request to this provider",
    }),
    models: Type.Array(Type.Union([Type.String({ minLength: 1 }), ModelSchema]), { default: [] }),
    timeout: TimeoutSchema,
  },
  strict,
)

const RoutingSchema = Type.Object(
  {
    strategy: Type.Union(
      [Type.Literal("cost_optimized"), Type.Literal("latency_first"), Type.Literal("quality_first")],
      { default: "cost_optimized" },
    ),
    failover_enabled: Type.Boolean({ default: true }),
    max_retries: Type.Integer({
      minimum: 0,
      maximum: 20,
      default: 3,
      description: "Attempts after the first one",
    }),
    health_check_interval: Duration({
      default: "30s",
      description: "Between two checks of whether a provider plugin can serve",
    }),
  },
  { ...strict, default: {} },
)

const BreakerSchema = Type.Union(
  [
    Type.Object(
      {
        failures: Type.Integer({ minimum: 1, default: 10, description: "More than these trip it" }),
        window: Duration({ default: "30s", description: "The time within which failures are counted" }),
        cool_down: Duration({ default: "60s", description: "How long the plugin is left alone" }),
      },
      strict,
    ),
    Type.Literal(false),
  ],
  { default: {}, description: "Switches off plugins that keep failing. false: never" },
)

const BreakerEntrySchema = Type.Union(
  [
    Type.Object(
      {
        failures: Type.Optional(Type.Integer({ minimum: 1 })),
        window: Type.Optional(Duration()),
        cool_down: Type.Optional(Duration()),
      },
      strict,
    ),
    Type.Literal(false),
  ],
  { description: "What is different for this plugin from plugins.breaker. false: it has none" },
)
/** Also what fills up a plugin's own entry where `plugins.probation` is false. */
export const PROBATION = { calls: 50, max_errors: 2 }

const ProbationCalls = (options: { default?: number } = {}) =>
  Type.Integer({
    minimum: 1,
    description: "Calls into a new version for which the one before is kept",
    ...options,
  })
const ProbationErrors = (options: { default?: number } = {}) =>
  Type.Integer({
    minimum: 0,
    description: "More failures than this among them, and the one before serves again",
    ...options,
  })

export const PluginEntrySchema = Type.Object(
  {
    enabled: Type.Boolean({ default: true }),
    priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 100, description: "Higher runs first" })),
    config: Type.Record(Type.String(), Type.Unknown(), { default: {} }),
    dependencies: Type.Array(
      Type.String({
        pattern: "^[a-z0-9]+(?:-[a-z0-9]+)*(?:@[\\w.*+<>=~^| -]+)?$",
        errorMessage: 'must be a plugin\'s name, or that with a range such as "geo-ip@^1.2.0"',
      }),
      { default: [] },
    ),
    load_after: Type.Array(Type.String(), {
      default: [],
      description: "Plugins that are set up before this one where they are present",
    }),
    on_error: Type.Optional(
      Type.Union([Type.Literal("open"), Type.Literal("closed"), Type.Literal("disable")], {
        description: "A failing call of this plugin: go on, fail the request, or go on and switch it off",
      }),
    ),
    timeout: Duration({ default: "5s", description: "Deadline of each call into the plugin" }),
    isolation: Type.Union([Type.Literal("inline"), Type.Literal("worker")], {
      default: "inline",
      description: "worker: a thread of its own, which is ended when it hangs",
    }),
    worker_memory: Type.Optional(Bytes({ description: "The heap that its worker may use" })),
    breaker: Type.Optional(BreakerEntrySchema),
    probation: Type.Optional(
      Type.Union(
        [
          Type.Object(
            { calls: Type.Optional(ProbationCalls()), max_errors: Type.Optional(ProbationErrors()) },
            strict,
          ),
          Type.Literal(false),
        ],
        {
          description:
            "The same as plugins.probation for this plugin; false: a new version is on its own at once",
        },
      ),
    ),
    canary: Type.Optional(
      Percentage({
        description: "Share of requests that a new version gets until it is promoted or rolled back",
      }),
    ),
  },
  { ...strict, default: {} },
)

const PluginsSchema = Type.Object(
  {
    enabled: Type.Boolean({ default: true }),
    directory: Type.String({ default: "./plugins", description: "Relative to the config file" }),
    auto_load: Type.Boolean({ default: true, description: "Load what is in the directory at start" }),
    hot_reload: Type.Boolean({ default: true, description: "Follow changes in the directory" }),
    reload_interval: Duration({
      default: "30s",
      description: "A full look at the directory, beside the file watcher, for changes it cannot see",
    }),
    max_plugins: Type.Integer({ minimum: 1, default: 100 }),
    timeout: Duration({ default: "30s", description: "Deadline of a plugin's setup and shutdown" }),
    max_concurrent: Type.Integer({ minimum: 1, default: 5, description: "Plugins loaded at a time" }),
    drain_timeout: Duration({ default: "30s", description: "How long an old version may finish its calls" }),
    locked: Type.Boolean({
      default: false,
      description: "Nothing of the directory loads that is not as plugins.lock says",
    }),
    packages: Type.Array(
      Type.String({
        pattern:
          "^(?:@[a-z0-9][a-z0-9._~-]*/)?[a-z0-9][a-z0-9._~-]*@\\d+\\.\\d+\\.\\d+(?:[-+][0-9A-Za-z.+-]+)?$",
        errorMessage: 'must be a package with its exact version, such as "leapgate-plugin-x@1.2.3"',
      }),
      { default: [], description: "npm packages that are plugins, from the directory's own node_modules" },
    ),
    breaker: BreakerSchema,
    watchdog: Duration({
      default: "250ms",
      description: "A plugin that keeps the event loop for longer is named in the log. 0ms: none is",
    }),
    probation: Type.Union(
      [
        Type.Object(
          {
            calls: ProbationCalls({ default: PROBATION.calls }),
            max_errors: ProbationErrors({ default: PROBATION.max_errors }),
          },
          strict,
        ),
        Type.Literal(false),
      ],
      { default: {}, description: "false: none, unless a plugin's own entry says so" },
    ),
    configs: Type.Record(Type.String(), PluginEntrySchema, { default: {} }),
  },
  { ...strict, default: {} },
)

const TelemetrySchema = Type.Object(
  {
    logs: Type.Object(
      {
        level: Type.Union(
          (["trace", "debug", "info", "warn", "error", "silent"] as const).map((level) =>
            Type.Literal(level),
          ),
          { default: "info" },
        ),
      },
      { ...strict, default: {} },
    ),
    metrics: Type.Object(
      { enabled: Type.Boolean({ default: true, description: "Whether /metrics answers" }) },
      { ...strict, default: {} },
    ),
  },
  { ...strict, default: {} },
)

export const ConfigSchema = Type.Object(
  {
    server: ServerSchema,
    auth: AuthSchema,
    admin: AdminSchema,
    providers: Type.Array(ProviderSchema, { default: [] }),
    models: Type.Record(Type.String(), Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }), {
      default: {},
      description: 'Aliases: a name and the "provider/model" entries to try, in order',
    }),
    routing: RoutingSchema,
    plugins: PluginsSchema,
    telemetry: TelemetrySchema,
  },
  { ...strict, title: "LeapGate configuration" },
)

/** The decoded configuration: defaults filled in, durations in ms, sizes in bytes. */
export type Config = StaticDecode<typeof ConfigSchema>
export type ProviderConfig = StaticDecode<typeof ProviderSchema>
