/**
 * What reading a request and watching a stream cost. Run: bun bench/scan.ts
 * The candidates take turns, so that a busy machine slows all of them; read the ratios, not the times.
 */
import { readChatBody } from "../src/protocol/chat-body.ts"
import { expectKeys, scanJson } from "../src/protocol/json-scan.ts"
import { StreamWatcher } from "../src/protocol/stream-watch.ts"

type Candidates = Readonly<Record<string, () => unknown>>

const ROUNDS = 31
const KEYS = expectKeys(["model", "messages", "temperature", "stream", "max_tokens"])
const TEXTS = {
  prose: "The quick brown fox jumps over the lazy dog, and nobody saw it again for a long time. ".repeat(6),
  code: 'if (x === "a") {\n\treturn { "b": "c" }\n}\n// Käse – 日本語\n',
}

for (const [name, text] of Object.entries(TEXTS)) {
  for (const sizeBytes of [500, 5000, 50_000, 500_000]) {
    const bytes = requestOf(sizeBytes, text)
    compare(`request of ${bytes.length} bytes, ${name}`, Math.ceil(2e6 / sizeBytes), {
      "decode + JSON.parse": () => JSON.parse(new TextDecoder().decode(bytes)),
      scanJson: () => scanJson(bytes, KEYS),
      readChatBody: () => readChatBody(bytes),
    })
  }
}

const event = eventOf("hello")
for (const events of [1, 20]) {
  const chunk = new TextEncoder().encode(event.repeat(events))
  const watcher = new StreamWatcher()
  compare(`stream chunk of ${events} events, ${chunk.length} bytes`, 5000, {
    "decode + JSON.parse": () =>
      new TextDecoder()
        .decode(chunk)
        .split("\n\n")
        .slice(0, -1)
        .map((one) => JSON.parse(one.slice(6))),
    "StreamWatcher.feed": () => watcher.feed(chunk),
  })
}

function compare(title: string, repeats: number, candidates: Candidates): void {
  const times = new Map(Object.keys(candidates).map((name) => [name, [] as number[]]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, run] of Object.entries(candidates)) {
      const start = performance.now()
      for (let repeat = 0; repeat < repeats; repeat++) run()
      times.get(name)?.push(((performance.now() - start) * 1000) / repeats)
    }
  }
  const medians = [...times].map(([name, measured]) => ({ name, us: median(measured) }))
  const baseUs = medians[0]?.us ?? 0
  const columns = medians.map(({ name, us }) => `${name} ${us.toFixed(2)} µs (${(us / baseUs).toFixed(2)})`)
  console.log(`${title}: ${columns.join(", ")}`)
}

function median(measured: readonly number[]): number {
  return measured.toSorted((a, b) => a - b)[Math.floor(measured.length / 2)] ?? 0
}

function requestOf(sizeBytes: number, text: string): Uint8Array<ArrayBuffer> {
  const messages = [{ role: "system", content: "You are a helpful assistant." }]
  for (let left = sizeBytes - 180; left > 0; left -= 4000) {
    const content = text.repeat(Math.ceil(4000 / text.length)).slice(0, Math.min(left, 4000))
    messages.push({ role: messages.length % 2 === 1 ? "user" : "assistant", content })
  }
  const request = { model: "gpt-4o-mini", messages, temperature: 0.7, stream: true, max_tokens: 512 }
  return new TextEncoder().encode(JSON.stringify(request))
}

function eventOf(content: string): string {
  const chunk = {
    id: "chatcmpl-Abc123DEF456",
    object: "chat.completion.chunk",
    created: 1732280000,
    model: "gpt-4o-mini-2024-07-18",
    system_fingerprint: "fp_0705bf87c0",
    choices: [{ index: 0, delta: { content }, logprobs: null, finish_reason: null }],
    usage: null,
  }
  return `data: ${JSON.stringify(chunk)}\n\n`
}
