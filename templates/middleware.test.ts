import { afterEach, beforeEach, expect, setSystemTime, test } from "bun:test"
import { testPlugin } from "leapgate/testing"
import plugin from "./middleware.ts"

beforeEach(() => {
  setSystemTime(new Date("2030-01-01T10:30:00Z"))
})

afterEach(() => {
  setSystemTime()
})

test("by day it says how long the day lasts", async () => {
  await using app = await testPlugin(plugin, { config: { opens: 8, closes: 18 } })
  const { status, headers } = await app.chat("hello")
  expect(status).toBe(200)
  expect(headers.get("x-open-hours-left")).toBe("8")
})

test("at night it refuses, and the provider hears nothing", async () => {
  await using app = await testPlugin(plugin, { config: { opens: 11, closes: 18 } })
  const { status, error } = await app.chat("hello")
  expect(status).toBe(403)
  expect(error?.code).toBe("request_rejected")
  expect(app.upstream.requests).toEqual([])
  expect(app.logs).toMatchObject([{ message: "refused at night", caller: "anonymous", hour: 10 }])
})
