/** Every `curl` on these pages answers as shown, in this order, on a gateway with the config that ships. */
import { describe, test } from "bun:test"
import { join } from "node:path"
import { startGateway } from "../support/gateway.ts"
import { REPOSITORY } from "./page.ts"
import { play } from "./transcript.ts"

const PAGES = [
  "README.md",
  "docs/guides/getting-started.md",
  "docs/guides/operate.md",
  "docs/reference/admin-api.md",
  "docs/reference/http-api.md",
]

describe.skipIf(Bun.which("curl") === null)("what is shown is what happens", () => {
  test.each(PAGES)(
    "in %s",
    async (page) => {
      const shipped = await Bun.file(join(REPOSITORY, "config.yaml")).text()
      await using gateway = await startGateway({ config: shipped.replace(/(?<=port: )8080\b/, "0") })
      await play(page, gateway)
    },
    20_000,
  )
})
