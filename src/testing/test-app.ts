/** What a test of a plugin holds in its hands. */
import type { PluginCall } from "../plugin/call-recorder.ts"
import type { Abilities, PluginDefinition, PluginType } from "../plugin/contract.ts"
import type { ChatOptions, ChatReply } from "./chat.ts"
import type { FakeUpstream, UpstreamReply } from "./fake-upstream.ts"

/** What stands in config.yaml, as an object. */
export type ConfigTree = Readonly<Record<string, unknown>>

export interface TestPluginOptions {
  /** As it stands in config.yaml, under `plugins.configs.<name>.config`. */
  readonly config?: ConfigTree
  /** More plugins for the same gateway. */
  readonly plugins?: readonly AnyPlugin[]
  /** Laid over the config of the gateway: objects are merged, and providers come after the upstream. */
  readonly gateway?: ConfigTree
  /** The first `app.upstream.reply`. */
  readonly upstream?: UpstreamReply
  /** What the gateway takes for its environment; nothing unless it is said here. */
  readonly env?: Readonly<Record<string, string>>
}

/** A definition, whatever its type and config. */
export type AnyPlugin = Pick<PluginDefinition, "name" | "version" | "type">

export interface TestApp<T extends PluginType = PluginType> extends AsyncDisposable {
  /** Of the gateway, without a slash at the end. */
  readonly url: string
  /** Any request to the gateway: `app.fetch("/v1/models")`. */
  fetch(path: string, init?: RequestInit): Promise<Response>
  /** Sends one message to `test-model`; more fields of the request, and headers, are options. */
  chat(prompt: string, options?: ChatOptions): Promise<ChatReply>
  /** The provider `upstream`, which has the model `test-model`. */
  readonly upstream: FakeUpstream
  /** What `setup` returned, of the version that serves now. */
  readonly abilities: Abilities<T>
  /** The calls of hooks and abilities of this plugin, in the order in which they ended. */
  readonly calls: readonly PluginCall[]
  /** What this plugin wrote to its log. */
  readonly logs: readonly TestLogLine[]
  /** Every line of the gateway's log. */
  readonly allLogs: readonly TestLogLine[]
  /** Every series of `/metrics`: `leapgate_plugin_calls_total{plugin="my-plugin"}` and its value. */
  metrics(): Promise<ReadonlyMap<string, number>>
  /**
   * Puts another version into the place of this one, as saving its file does. State and counts stay.
   * @throws why it cannot be loaded; the old version serves on then
   */
  reload(definition: AnyPlugin): Promise<void>
  /** Resolves when no request and no observer is under way any more: what `onResponse` does is done then. */
  idle(): Promise<void>
  /** Polls until `probe` gives something other than undefined or false; fails after four seconds. */
  waitFor<R>(probe: () => R | undefined | false | Promise<R | undefined | false>): Promise<R>
  /** Stops everything; `await using` does it. */
  stop(): Promise<void>
}

export interface TestLogLine {
  readonly level: "trace" | "debug" | "info" | "warn" | "error"
  /** ISO 8601. */
  readonly time: string
  readonly message: string
  readonly [field: string]: unknown
}
