import {
  type Exposition,
  joinFamilies,
  negotiateFormat,
  renderFamilies,
} from "../../src/telemetry/exposition.ts"
import type { ForeignFamily } from "../../src/telemetry/prometheus-text.ts"
import type { MetricStore } from "../../src/telemetry/store.ts"

/**
 * What one process that serves alone answers to a scraper.
 * @param accept the scraper's Accept header
 * @param foreign metrics of others, whose names are not taken
 */
export function renderMetrics(
  store: MetricStore,
  accept?: string | null,
  foreign: readonly ForeignFamily[] = [],
): Exposition {
  const format = negotiateFormat(accept)
  return joinFamilies([renderFamilies(store, { format, foreign })], format)
}
