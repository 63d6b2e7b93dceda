/** The guide's plugins of the types cache, auth, transform and monitoring, and those with routes of their own. */
import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { sdkArchive } from "../../src/cli/sdk-archive.ts"
import { errorOf, postChat } from "../support/chat.ts"
import { completion } from "../support/completions.ts"
import { readWholeStream } from "../support/streamed-reply.ts"
import { runCommand } from "../support/terminal.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"
import { chunked, json, LAST_CHUNK, streamHead } from "../support/wire.ts"
import { afterTest, files, gatewayBefore, gatewayWith, upstreamWith } from "./guide.ts"

// From source the SDK is made when it is first asked for; no test's time limit should pay for that.
await sdkArchive()

test("recent-replies answers the same question without the provider", async () => {
  const upstream = upstreamWith({ good: answers(["an ", "answer"]) })
  const gateway = await gatewayBefore(upstream, "recent-replies")
  const ask = async (prompt: string) => (await postChat(gateway.url, { model: "good", prompt })).json()
  const first = await ask("why?")
  expect(await ask("why?")).toEqual(first)
  expect(upstream.requests("good").length).toBe(1)
  await ask("why not?")
  expect(upstream.requests("good").length).toBe(2)
})

test("recent-replies forgets a reply when its time is over", async () => {
  const upstream = upstreamWith({ good: answers() })
  const gateway = await gatewayBefore(upstream, "recent-replies", { ttl: "1ms" })
  const ask = async () => (await postChat(gateway.url, { model: "good" })).text()
  await ask()
  await waitFor("the reply to be old", async () => {
    await ask()
    return upstream.requests("good").length > 1
  })
})

test("team-tokens lets teams in by their tokens, to their models, and nobody else", async () => {
  const hash = createHash("sha256").update("token-of-red").digest("hex")
  const gateway = await gatewayWith("team-tokens", { teams: { [hash]: "red" }, models: { red: ["demo"] } })
  const ask = (model: string, token: string) =>
    postChat(gateway.url, { model, headers: { authorization: `Bearer ${token}` } })
  expect((await ask("demo", "token-of-red")).status).toBe(200)
  const refused = await ask("demo-large", "token-of-red")
  expect(refused.status).toBe(403)
  expect((await errorOf(refused)).code).toBe("forbidden")
  const unknown = await ask("demo", "token-of-blue")
  expect(unknown.status).toBe(401)
  expect((await errorOf(unknown)).code).toBe("invalid_api_key")
})

test("defaults fills in what a request leaves open, and hides the fingerprint", async () => {
  const reply = { ...completion("good", "hi"), system_fingerprint: "fp_1" }
  const upstream = upstreamWith({
    good: async ({ write }) => void (await write(json(200, JSON.stringify(reply)))),
  })
  const gateway = await gatewayBefore(upstream, "defaults", { max_tokens: 7 })
  const received = await (await postChat(gateway.url, { model: "good", temperature: 1 })).json()
  expect(received).toEqual(completion("good", "hi"))
  expect(JSON.parse(upstream.requests("good")[0]?.body ?? "")).toMatchObject({
    temperature: 1,
    max_tokens: 7,
  })
})

test("defaults hides the fingerprint of a stream, too", async () => {
  const chunk = (content: string, reason: string | null) => ({
    id: "1",
    object: "chat.completion.chunk",
    created: 1,
    model: "good",
    system_fingerprint: "fp_1",
    choices: [{ index: 0, delta: { content }, finish_reason: reason }],
  })
  const upstream = upstreamWith({
    good: async ({ write }) => {
      const events = [chunk("hi", null), chunk("", "stop")].map((each) => `data: ${JSON.stringify(each)}\n\n`)
      await write(streamHead() + [...events, "data: [DONE]\n\n"].map(chunked).join("") + LAST_CHUNK)
    },
  })
  const gateway = await gatewayBefore(upstream, "defaults")
  const stream = await readWholeStream(await postChat(gateway.url, { model: "good", stream: true }))
  expect(stream).toMatchObject({ text: "hi", finishReason: "stop", isDone: true })
  expect(JSON.stringify(stream.chunks)).not.toContain("fp_1")
})

test("audit-log writes what happens, without content, and how much that was", async () => {
  const gateway = await gatewayWith("audit-log")
  await postChat(gateway.url, { model: "demo", prompt: "a secret question" })
  await postChat(gateway.url, { model: "not-there" })
  const file = join(gateway.directory, "audit.jsonl")
  const lines = async () =>
    (await readFile(file, "utf8").catch(() => "")).split("\n").filter((line) => line !== "")
  const names = async () => (await lines()).map((line) => (JSON.parse(line) as { name: string }).name)
  await waitFor("both events", async () => {
    const seen = await names()
    return seen.includes("onResponse") && seen.includes("onError")
  })
  expect((await lines()).join()).not.toContain("a secret question")
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  expect(metrics).toMatch(/^audit_lines_total [1-9]\d*$/m)
})

test("usage tells callers what they have used, at a route of its own", async () => {
  const gateway = await gatewayWith("usage")
  const url = `${gateway.url}/plugins/usage`
  const used = async () => ((await (await fetch(url)).json()) as { tokens: number }).tokens
  expect(await used()).toBe(0)
  const reply = (await (await postChat(gateway.url, { model: "demo" })).json()) as {
    usage: { total_tokens: number }
  }
  await waitFor("the tokens", async () => (await used()) === reply.usage.total_tokens)
  const elsewhere = await fetch(`${url}/more`)
  expect(elsewhere.status).toBe(404)
  expect((await errorOf(elsewhere)).message).toBe("there is only GET /plugins/usage")
})

test("with nothing but the SDK every plugin of the page passes its checks", async () => {
  const cwd = await mkdtemp(join(tmpdir(), "leapgate-guide-"))
  afterTest(() => rm(cwd, { recursive: true }))
  for (const [name, source] of files) await Bun.write(join(cwd, "plugins", name), source)
  await runCommand(["plugin", "types"], { cwd })
  const names = [...files.keys()]
    .filter((file) => !file.endsWith(".test.ts"))
    .map((file) => file.replace(".ts", ""))
  const { out } = await runCommand(["plugin", "verify"], { cwd })
  const fitting = [...out.matchAll(/^✓ (\S+): types fit$/gm)].map(([, name]) => name)
  expect(fitting.toSorted()).toEqual(names.toSorted())
  // Four have settings that nobody but their owner can know.
  const faults = [...out.matchAll(/^✗ (\S+):/gm)].map(([, name]) => name)
  expect([...new Set(faults)].toSorted()).toEqual(["backend", "forwarder", "long-prompts", "team-tokens"])
}, 30_000)
