import { expect, test } from "bun:test"
import { readCacheControl } from "../../src/protocol/cache-control.ts"

const ANY = Number.POSITIVE_INFINITY

test.each<[string | null, boolean, boolean, number]>([
  [null, false, false, ANY],
  ["", false, false, ANY],
  ["no-store", true, false, ANY],
  ["No-Cache", false, true, ANY],
  ["max-age=60", false, false, 60],
  ["max-age=0", false, false, 0],
  ['no-cache , max-age = "5"', false, true, 5],
  ["max-age=60, max-age=5", false, false, 5],
  ["max-age=soon", false, false, -1],
  ["max-age", false, false, -1],
  ["only-if-cached, x=no-store", false, false, ANY],
])("%p", (header, noStore, noCache, maxAgeSeconds) => {
  expect(readCacheControl(header)).toEqual({ noStore, noCache, maxAgeSeconds })
})
