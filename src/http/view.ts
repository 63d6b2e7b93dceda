import type { RoutingRules } from "../pipeline/call.ts"
import type { Snapshot } from "../plugin/snapshot.ts"
import type { Catalog } from "../routing/catalog.ts"
import type { KeyRing } from "./key-ring.ts"

/** What the configuration says about requests, compiled. */
export interface Settings {
  readonly bodyLimitBytes: number
  readonly keys: KeyRing
  /** Whether callers need no key: `auth.mode: open`. */
  readonly isOpen: boolean
  /** Whether the listener's address can be reached from this machine only. */
  readonly isPrivate: boolean
  readonly adminToken: string
  /** Whether `/metrics` answers. */
  readonly servesMetrics: boolean
  readonly rules: RoutingRules
}

/** Everything a request is served by: one generation of plugins with one version of the configuration. */
export interface View {
  readonly snapshot: Snapshot
  readonly catalog: Catalog
  readonly settings: Settings
}
