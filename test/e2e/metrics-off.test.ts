import { expect, test } from "bun:test"
import { startGateway } from "../support/gateway.ts"

test("telemetry.metrics.enabled: false takes /metrics away", async () => {
  await using gateway = await startGateway({ config: { telemetry: { metrics: { enabled: false } } } })
  const response = await fetch(`${gateway.url}/metrics`)
  expect(response.status).toBe(404)
  expect(await response.json()).toMatchObject({ error: { code: "not_found" } })
})
