/** The plugins of the guide, taken from the page as it stands, in real gateways. */
import { onTestFinished } from "bun:test"
import { type RunningGateway, startGateway } from "../support/gateway.ts"
import { type HostileUpstream, startHostileUpstream } from "../support/hostile-upstream.ts"
import { fileNameOf, readPage } from "./page.ts"

export const { blocks } = await readPage("docs/guides/write-a-plugin.md")

/** Files of `plugins/` by their names there. */
export const files: ReadonlyMap<string, string> = new Map(
  blocks.flatMap((block) => {
    const name = fileNameOf(block)
    return name === undefined ? [] : [[name.replace("plugins/", ""), block.text] as const]
  }),
)

const closers: (() => unknown)[] = []

/** Does this when the test that asks for it is over, the last one first. */
export function afterTest(close: () => unknown): void {
  // Here and not once for the file: `afterEach` would hold for the first of the test files that import this one.
  if (closers.length === 0) {
    onTestFinished(async () => {
      for (const one of closers.splice(0).reverse()) await one()
    })
  }
  closers.push(close)
}

/** A gateway with the demo provider and one plugin of the page. */
export function gatewayWith(
  name: string,
  config: Readonly<Record<string, unknown>> = {},
): Promise<RunningGateway> {
  return running({
    config: { plugins: { configs: { "example-provider": {}, [name]: { config } } } },
    plugins: pluginFiles(name),
  })
}

/** The same with a provider whose answers the test writes. */
export function gatewayBefore(
  upstream: HostileUpstream,
  name: string,
  config: Readonly<Record<string, unknown>> = {},
): Promise<RunningGateway> {
  const providers = [{ name: "up", base_url: upstream.url, models: ["good"] }]
  return running({
    config: { providers, plugins: { configs: { [name]: { config } } } },
    plugins: pluginFiles(name),
  })
}

export async function running(options: Parameters<typeof startGateway>[0]): Promise<RunningGateway> {
  const gateway = await startGateway(options)
  afterTest(() => gateway.stop())
  return gateway
}

export function upstreamWith(
  scripts: Readonly<Record<string, Parameters<HostileUpstream["script"]>[1]>>,
): HostileUpstream {
  const upstream = startHostileUpstream()
  afterTest(() => upstream.stop())
  for (const [model, script] of Object.entries(scripts)) upstream.script(model, script)
  return upstream
}

export function pluginFiles(name: string): Readonly<Record<string, string>> {
  const source = files.get(`${name}.ts`)
  if (source === undefined) throw new Error(`the page has no plugins/${name}.ts`)
  return { [`${name}.ts`]: source }
}
