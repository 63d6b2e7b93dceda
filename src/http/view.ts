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

/**
 * Draws, for a view whose snapshot has canaries, the view of one request. Each combination of canaries is compiled once,
 * and forgotten with the view it belongs to.
 */
export function createCanaryViews(compile: (snapshot: Snapshot) => View): (view: View) => View {
  let base: View | undefined
  let compiled = new Map<Snapshot, View>()
  return function drawView(view) {
    const snapshot = view.snapshot.pick()
    if (snapshot === view.snapshot) return view
    if (base !== view) compiled = new Map()
    base = view
    const known = compiled.get(snapshot)
    if (known !== undefined) return known
    const drawn = compile(snapshot)
    compiled.set(snapshot, drawn)
    return drawn
  }
}
