/**
 * Plays a page against a running gateway, from top to bottom: files that it shows are written, `curl` commands
 * are run, and their replies must be those of the next block. So nothing on a page is made up.
 *
 * A JSON reply may be broken into lines on the page. In other replies a line `…` stands for any lines. What
 * differs from run to run, such as ids and times, must only have the same form.
 */
import { expect } from "bun:test"
import { join } from "node:path"
import type { RunningGateway } from "../support/gateway.ts"
import { waitFor } from "../support/wait.ts"
import { type Block, fileNameOf, readPage } from "./page.ts"

/** Where the pages say the gateway is. */
const SHOWN_ADDRESS = "127.0.0.1:8080"

export async function play(path: string, gateway: RunningGateway): Promise<void> {
  const { blocks } = await readPage(path)
  for (const [index, block] of blocks.entries()) {
    const file = fileNameOf(block)
    if (file !== undefined) await save(file, block.text, gateway)
    else if (isCommand(block)) await compare(block, blocks[index + 1], gateway)
  }
}

const isCommand = ({ language, text }: Block): boolean => language === "sh" && text.startsWith("curl ")

/** Writes the file and waits until it is in use. */
async function save(file: string, text: string, gateway: RunningGateway): Promise<void> {
  const counter = file.startsWith("plugins/")
    ? /^leapgate_plugin_generation (\d+)/m
    : /^leapgate_config_reloads_total\{outcome="success"\} (\d+)/m
  const count = async () =>
    Number(counter.exec(await (await fetch(`${gateway.url}/metrics`)).text())?.[1] ?? 0)
  const before = await count()
  await Bun.write(join(gateway.directory, file), text)
  await waitFor(`${file} to be in use`, async () => (await count()) > before)
}

async function compare(command: Block, shown: Block | undefined, gateway: RunningGateway): Promise<void> {
  const { place } = command
  const reply = await run(command, gateway)
  if (shown?.language === "json") {
    expect({ place, reply: settled(JSON.parse(reply)) }).toEqual({
      place,
      reply: settled(JSON.parse(shown.text)),
    })
  } else if (shown?.language === "text") {
    // Equal where it is alike; where it is not, the test runner shows the difference.
    expect({ place, reply: isLike(shown.text, reply) ? shown.text : reply }).toEqual({
      place,
      reply: shown.text,
    })
  } else {
    throw new Error(`${place}: the reply is missing: a json or text block must follow`)
  }
}

async function run({ text, place }: Block, gateway: RunningGateway): Promise<string> {
  const command = text.replaceAll(SHOWN_ADDRESS, `127.0.0.1:${gateway.port}`)
  // No proxy of this machine may come between.
  const child = Bun.spawn(["sh", "-c", command], {
    cwd: gateway.directory,
    env: { PATH: process.env.PATH ?? "", no_proxy: "127.0.0.1" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  const [reply, complaint] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  if (child.exitCode !== 0) throw new Error(`${place}: curl ended with ${child.exitCode}: ${complaint}`)
  return reply.replaceAll("\r", "")
}

/** What differs from run to run, in replies that are no JSON. */
const VARYING: readonly (readonly [RegExp, string])[] = [
  [/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<id>"],
  [/"created":\d+/g, '"created":<time>'],
  [/^(Date|retry-after|retry-after-ms|X-RateLimit-Reset): .+$/gim, "$1: <time>"],
]

const settledText = (text: string): string =>
  VARYING.reduce((settled, [form, name]) => settled.replace(form, name), text.trimEnd())

function isLike(shown: string, reply: string): boolean {
  const lines = settledText(shown)
    .split("\n")
    .map((line) => (line === "…" ? "(?:.*\n)*" : `${RegExp.escape(line)}\n`))
  return new RegExp(`^${lines.join("")}$`).test(`${settledText(reply)}\n`)
}

const VARYING_FIELD = /^(?:created|reset|size_bytes|source|version|.*_ms)$/
const VARYING_TEXT = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/

/** The same with every value that differs from run to run replaced by what it is. */
function settled(value: unknown, field = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => settled(item))
  if (typeof value === "string" && VARYING_TEXT.test(value)) return "<time>"
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, settled(item, key)]))
  }
  if (VARYING_FIELD.test(field)) return `<${typeof value}>`
  return typeof value === "string" ? settledText(value) : value
}
