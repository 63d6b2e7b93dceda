import type { Clock } from "../clock.ts"
import type { JsonObject } from "../config/edit.ts"
import type { Fleet } from "../fleet/fleet.ts"
import type { CallDeps } from "../pipeline/call.ts"
import type { CacheKeeper } from "../plugin/cache-keeper.ts"
import type { PointBook } from "../plugin/point.ts"
import type { PluginRegistry } from "../plugin/registry.ts"
import type { Logger } from "../telemetry/logger.ts"
import type { Gauge, MetricStore } from "../telemetry/store.ts"
import type { Connections } from "./server.ts"
import type { View } from "./view.ts"

/** What the HTTP side needs of the rest. */
export interface HttpDeps extends Connections {
  readonly version: string
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: MetricStore
  readonly activeRequests: Gauge
  readonly call: CallDeps
  readonly registry: PluginRegistry
  readonly fleet: Fleet
  readonly caches: CacheKeeper
  readonly points: PointBook
  /** Changes a plugin's settings by a JSON merge patch, in the config file too. */
  configurePlugin(name: string, patch: JsonObject): Promise<void>
  /** The view that serves a request which arrives now. */
  view(): View
  /** Whether new requests are welcome: false before the start is over and while draining. */
  isReady(): boolean
}
