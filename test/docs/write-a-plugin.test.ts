/** Every plugin of the guide, taken from the page as it stands, does in a real gateway what the page says. */
import { expect, test } from "bun:test"
import { mkdtemp, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { bundledPlugins } from "../../src/bundled.ts"
import { postChat } from "../support/chat.ts"
import { completion, streamedAnswer, textChunk } from "../support/completions.ts"
import { embeddings, postEmbeddings } from "../support/embeddings.ts"
import type { RunningGateway } from "../support/gateway.ts"
import { readWholeStream } from "../support/streamed-reply.ts"
import { answers, refuses } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"
import { chunked, LAST_CHUNK, streamHead } from "../support/wire.ts"
import {
  afterTest,
  blocks,
  files,
  gatewayBefore,
  gatewayWith,
  pluginFiles,
  running,
  upstreamWith,
} from "./guide.ts"
import { REPOSITORY } from "./page.ts"

test("quota answers as often as its config says, then tells when to come back", async () => {
  const gateway = await gatewayWith("quota", { answers: 2, window: "1h" })
  expect((await postChat(gateway.url, { model: "demo" })).status).toBe(200)
  expect((await postChat(gateway.url, { model: "demo" })).status).toBe(200)
  const refused = await postChat(gateway.url, { model: "demo" })
  expect(refused.status).toBe(429)
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(3500)
  expect(await refused.text()).toContain('\\"anonymous\\" has had its 2 answers')
  expect((await fetch(`${gateway.url}/v1/models`)).status).toBe(200)
  expect(gateway.logs()).toContain('"message":"a quota is used up","plugin":"quota","caller":"anonymous"')
})

test("the config of quota on the page is its config", async () => {
  const shown = blocks.filter(({ language, text }) => language === "yaml" && text.includes("quota:"))
  expect(shown.length).toBe(2)
  for (const { text } of shown) {
    const gateway = await running({ config: `server: { port: 0 }\n${text}`, plugins: pluginFiles("quota") })
    expect(await stateOf(gateway, "quota")).toMatchObject({ state: "active", error: null })
  }
})

test("greeting greets whoever asks", async () => {
  const gateway = await gatewayWith("greeting")
  const response = await fetch(`${gateway.url}/v1/models`)
  expect(response.headers.get("x-greeting")).toBe("hello anonymous")
})

test("greeting with a missing quote is the error that the page shows", async () => {
  const gateway = await gatewayWith("greeting")
  await gateway.writePlugin("greeting.ts", String(files.get("greeting.ts")).replace('"1.0.0"', '"1.0.0'))
  const { error } = await waitFor("the fault to be shown", async () => {
    const info = await stateOf(gateway, "greeting")
    return info.error === null ? undefined : info
  })
  const told = JSON.parse(JSON.stringify(error).replaceAll(gateway.directory, "/etc/leapgate"))
  const shown = JSON.parse(blocks.find(({ text }) => text.includes("plugin_load_failed"))?.text ?? "")
  expect(told).toEqual({ ...shown, at: told.at })
  expect((await fetch(`${gateway.url}/v1/models`)).headers.get("x-greeting")).toBe("hello anonymous")
})

test("timing tells how long a request took", async () => {
  const gateway = await gatewayWith("timing")
  const response = await postChat(gateway.url, { model: "demo" })
  expect(response.headers.get("server-timing")).toMatch(/^gateway;dur=\d+\.\d$/)
})

test("parrot repeats, plain and streamed", async () => {
  const gateway = await gatewayWith("parrot")
  for (const model of ["parrot-1", "parrot/parrot-1"]) {
    const reply = await postChat(gateway.url, { model, prompt: "pieces of eight" })
    expect(await reply.json()).toMatchObject({ choices: [{ message: { content: "pieces of eight" } }] })
  }
  const stream = await readWholeStream(
    await postChat(gateway.url, { model: "parrot-1", prompt: "pieces of eight", stream: true }),
  )
  expect(stream).toMatchObject({ text: "pieces of eight", finishReason: "stop", isDone: true })
  expect(stream.chunks.length).toBe(4)
})

test("forwarder passes on what its upstream says, and its refusals", async () => {
  const upstream = upstreamWith({ good: answers(["hi ", "there"]), bad: refuses(400) })
  const url = `${upstream.url}/chat/completions`
  const gateway = await gatewayWith("forwarder", { url, models: ["good", "bad"] })
  const stream = await readWholeStream(await postChat(gateway.url, { model: "good", stream: true }))
  expect(stream).toMatchObject({ text: "hi there", isDone: true })
  expect((await postChat(gateway.url, { model: "bad" })).status).toBe(400)
  expect(upstream.requests("good")[0]?.headers.get("x-request-id")).not.toBeUndefined()
})

test("backend has the models and the health of its server, and makes its embeddings", async () => {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch({ url }) {
      if (url.endsWith("/models")) return Response.json({ data: [{ id: "local-1" }] })
      return Response.json(
        url.endsWith("/embeddings") ? embeddings("local-1", [1]) : completion("local-1", "hi"),
      )
    },
  })
  afterTest(() => server.stop(true))
  const gateway = await gatewayWith("backend", { url: `http://127.0.0.1:${server.port}/v1` })
  await waitFor("its models", async () => (await fetch(`${gateway.url}/v1/models/local-1`)).ok)
  const chat = await postChat(gateway.url, { model: "local-1" })
  expect(await chat.json()).toEqual(completion("local-1", "hi"))
  const vectors = await postEmbeddings(gateway.url, { model: "local-1" })
  expect(await vectors.json()).toEqual(embeddings("local-1", [1]))
  await waitFor("it to be healthy", async () => {
    const info = (await (await fetch(`${gateway.adminUrl}/plugins/backend`)).json()) as Health
    return info.health?.status === "healthy"
  })
})

interface Health {
  readonly health: { readonly status: string } | null
}

test("long-prompts sends long prompts elsewhere, and only those", async () => {
  const gateway = await gatewayWith("long-prompts", { above: "1KB", to: "example-provider/demo-large" })
  const modelFor = async (prompt: string) =>
    ((await (await postChat(gateway.url, { model: "demo", prompt })).json()) as { model: string }).model
  expect(await modelFor("short")).toBe("demo")
  expect(await modelFor("long ".repeat(400))).toBe("demo-large")
})

test("house-rules puts its message before the others", async () => {
  const upstream = upstreamWith({ good: answers() })
  const gateway = await gatewayBefore(upstream, "house-rules")
  await postChat(gateway.url, { model: "good", prompt: "why?" })
  expect(JSON.parse(upstream.requests("good")[0]?.body ?? "")).toMatchObject({
    messages: [
      { role: "system", content: "Answer in one sentence." },
      { role: "user", content: "why?" },
    ],
  })
})

test("redact-mail takes out addresses, also where a stream cuts them", async () => {
  const upstream = upstreamWith({ good: answers(["write to jo", "@exam", "ple.com today"]) })
  const gateway = await gatewayBefore(upstream, "redact-mail")
  const stream = await readWholeStream(await postChat(gateway.url, { model: "good", stream: true }))
  expect(stream.text).toBe("write to [address] today")
  expect(await (await postChat(gateway.url, { model: "good" })).json()).toEqual(
    completion("good", "write to [address] today"),
  )
})

test("no-reasoning drops the chunks with reasoning, and no others", async () => {
  const thought = textChunk("good", "")
  const reasoning = {
    ...thought,
    choices: [{ index: 0, delta: { reasoning_content: "hm" }, finish_reason: null }],
  }
  const upstream = upstreamWith({
    good: async ({ write }) => {
      const events = streamedAnswer("good", ["an ", "answer"])
      const withThought = events.toSpliced(1, 0, `data: ${JSON.stringify(reasoning)}\n\n`)
      await write(streamHead() + withThought.map(chunked).join("") + LAST_CHUNK)
    },
  })
  const gateway = await gatewayBefore(upstream, "no-reasoning")
  const stream = await readWholeStream(await postChat(gateway.url, { model: "good", stream: true }))
  expect(stream).toMatchObject({ text: "an answer", isDone: true })
  expect(JSON.stringify(stream.chunks)).not.toContain("reasoning_content")
})

test("token-count logs what was used, and what failed", async () => {
  const gateway = await gatewayWith("token-count", { every: "50ms" })
  const reply = (await (await postChat(gateway.url, { model: "demo" })).json()) as {
    usage: { total_tokens: number }
  }
  await postChat(gateway.url, { model: "not-there" })
  await waitFor("the count", () =>
    gateway
      .logs()
      .includes(`"message":"tokens used","plugin":"token-count","demo":${reply.usage.total_tokens}`),
  )
  await waitFor("the failure", () =>
    gateway
      .logs()
      .includes(
        '"message":"a call failed","plugin":"token-count","model":"not-there","errorType":"invalid_input"',
      ),
  )
})

test("token-count reports what is left when it goes", async () => {
  const gateway = await gatewayWith("token-count", { every: "1h" })
  await postChat(gateway.url, { model: "demo" })
  await gateway.deletePlugin("token-count.ts")
  await waitFor("the last report", () => gateway.logs().includes('"message":"tokens used"'))
})

test("in the repository's layout every file of the page passes the type check, and its test passes", async () => {
  const directory = await mkdtemp(join(tmpdir(), "leapgate-guide-"))
  afterTest(() => rm(directory, { recursive: true }))
  for (const name of ["package.json", "src", "test", "node_modules"]) {
    await symlink(join(REPOSITORY, name), join(directory, name))
  }
  for (const [name, source] of files) await Bun.write(join(directory, "plugins", name), source)
  for (const { file } of bundledPlugins()) await symlink(file, join(directory, "plugins", basename(file)))
  const { compilerOptions } = await Bun.file(join(REPOSITORY, "tsconfig.json")).json()
  await Bun.write(join(directory, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["plugins"] }))

  expect(await output(directory, ["node_modules/.bin/tsc", "--noEmit"])).toEqual({ exitCode: 0, text: "" })
  const tested = await output(directory, ["test", "plugins/quota.test.ts"])
  expect(tested.text).toContain(" 2 pass")
  expect(tested.exitCode).toBe(0)
}, 60_000)

test("every plugin of the page has a test of its name, here or in write-a-plugin-types", async () => {
  const more = import.meta.path.replace(".test.ts", "-types.test.ts")
  const tests = (await Bun.file(import.meta.path).text()) + (await Bun.file(more).text())
  const names = [...files.keys()]
    .filter((file) => !file.endsWith(".test.ts"))
    .map((file) => file.replace(".ts", ""))
  expect(names.filter((name) => !new RegExp(`^test\\("${name} `, "m").test(tests))).toEqual([])
})

async function output(cwd: string, args: readonly string[]) {
  const child = Bun.spawn([process.execPath, ...args], {
    cwd,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { exitCode: child.exitCode, text: out + err }
}

async function stateOf(gateway: RunningGateway, name: string) {
  const response = await fetch(`${gateway.adminUrl}/plugins/${name}`)
  return (await response.json()) as { readonly state: string; readonly error: { readonly at: string } | null }
}
