import { GatewayError } from "../errors.ts"
import { NameRegister } from "../telemetry/foreign-metrics.ts"
import { type ForeignFamily, parsePrometheusText } from "../telemetry/prometheus-text.ts"
import type { ExportPoint } from "./monitor.ts"

/**
 * What monitoring plugins add to `/metrics`. All are asked at the same time. What cannot be read, or has a name that
 * is taken, is left out and counts as a failure of its plugin.
 */
export async function exportedFamilies(exporters: readonly ExportPoint[]): Promise<readonly ForeignFamily[]> {
  const texts = await Promise.all(exporters.map((exporter) => exporter.call()))
  const names = new NameRegister()
  return exporters.flatMap((exporter, index) => {
    const families = familiesIn(texts[index] ?? "", exporter)
    const taken = families.filter((family) => !names.claim(family))
    if (taken.length > 0) exporter.disown(conflict(taken))
    return families.filter((family) => !taken.includes(family))
  })
}

function familiesIn(text: string, exporter: ExportPoint): readonly ForeignFamily[] {
  try {
    return parsePrometheusText(text)
  } catch (thrown) {
    exporter.disown(thrown)
    return []
  }
}

function conflict(families: readonly ForeignFamily[]): GatewayError {
  const where = families.map(({ name, line }) => `line ${line}: ${name}`).join(", ")
  return new GatewayError(
    "plugin_conflict",
    `metrics of the gateway or of another plugin have these names already: ${where}`,
  )
}
