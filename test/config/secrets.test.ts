import { describe, expect, test } from "bun:test"
import { maskSecrets, secretsIn } from "../../src/config/secrets.ts"

describe("secrets by their names", () => {
  test("are masked wherever they stand, and only they", () => {
    expect(
      maskSecrets({
        name: "app",
        api_key: "a",
        accessToken: "b",
        nested: [{ DB_PASSWORD: "c", tokens: ["d"] }],
        headers: { "X-Anything": "e" },
        url: "https://user:f@host/path?at=@",
        first_token: "30s",
        max_tokens: 100,
        secret: "",
      }),
    ).toEqual({
      name: "app",
      api_key: "***",
      accessToken: "***",
      nested: [{ DB_PASSWORD: "***", tokens: ["***"] }],
      headers: { "X-Anything": "***" },
      url: "https://***@host/path?at=@",
      first_token: "30s",
      max_tokens: 100,
      secret: "",
    })
  })

  test("are found for the log, but not the short words that stand under such a name", () => {
    const config = {
      auth: { keys: [{ name: "a-long-enough-name", key: "0123456789" }] },
      headers: { Authorization: "Bearer 0123", "X-Title": "My application" },
      plugin: { cache_key: "model" },
    }
    expect(secretsIn(config)).toEqual(["0123456789", "Bearer 0123"])
  })
})
