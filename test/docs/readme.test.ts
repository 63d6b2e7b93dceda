import { expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { mkdtemp, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startGateway } from "../support/gateway.ts"
import { REPOSITORY, readPage } from "./page.ts"

const CLIENTS = join(REPOSITORY, "test/clients/node_modules")

test.skipIf(!existsSync(CLIENTS))("the client of the README prints the demo's answer", async () => {
  const { blocks } = await readPage("README.md")
  const program = blocks.find(({ text }) => text.startsWith('import OpenAI from "openai"'))?.text ?? ""
  await using gateway = await startGateway({ config: null })
  const directory = await mkdtemp(join(tmpdir(), "leapgate-readme-"))
  try {
    await symlink(CLIENTS, join(directory, "node_modules"))
    await Bun.write(join(directory, "client.ts"), program.replace("http://127.0.0.1:8080", gateway.url))
    const child = Bun.spawn([process.execPath, "client.ts"], {
      cwd: directory,
      stdin: "ignore",
      stdout: "pipe",
    })
    expect(await child.stdout.text()).toStartWith("Hello from demo")
    expect(await child.exited).toBe(0)
  } finally {
    await rm(directory, { recursive: true })
  }
})
