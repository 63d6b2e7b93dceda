/** A gateway without any configuration, and one whose configuration changes while it serves. */
import { expect, test } from "bun:test"
import { askPlain, postChat } from "../support/chat.ts"
import { startGateway } from "../support/gateway.ts"
import { startHostileUpstream } from "../support/hostile-upstream.ts"
import { readWholeStream } from "../support/streamed-reply.ts"
import { answers } from "../support/upstream-scripts.ts"
import { waitFor } from "../support/wait.ts"

test("without any configuration, what GET /v1/models lists answers, plain and streamed", async () => {
  await using gateway = await startGateway({ config: null })
  const list = (await (await fetch(`${gateway.url}/v1/models`)).json()) as { data: { id: string }[] }
  expect(list.data.length).toBeGreaterThan(0)
  const model = String(list.data[0]?.id)
  expect(await askPlain(gateway.url, model)).not.toBe("")
  const stream = await readWholeStream(await postChat(gateway.url, { model, stream: true }))
  expect(stream.text).not.toBe("")
  expect(stream).toMatchObject({ error: undefined, garbage: [], end: "clean" })
})

test("a changed config.yaml is served at once; a broken one changes nothing", async () => {
  const upstream = startHostileUpstream()
  upstream.script("one", answers(["first"]))
  upstream.script("two", answers(["second"]))
  try {
    await using gateway = await startGateway({ config: withModels("one") })
    const save = (text: string) => Bun.write(`${gateway.directory}/config.yaml`, text)
    expect(await askPlain(gateway.url, "one")).toBe("first")
    expect((await postChat(gateway.url, { model: "two" })).status).toBe(404)

    await save(withModels("two"))
    await waitFor("the new model to be served", async () => {
      return (await postChat(gateway.url, { model: "two" })).status === 200
    })
    expect((await postChat(gateway.url, { model: "one" })).status).toBe(404)

    await save(`${withModels("one")}\nroutng: {}\n`)
    await waitFor("the fault to be logged", () => gateway.logs().includes("routng"))
    expect(await askPlain(gateway.url, "two")).toBe("second")
  } finally {
    upstream.stop()
  }

  function withModels(model: string): string {
    return `
server: { host: 127.0.0.1, port: 0 }
providers:
  - name: up
    base_url: ${upstream.url}
    models: [${model}]
`
  }
})
