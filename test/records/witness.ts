/** Plugins whose doings can be read in the gateway's log. */
import type { PluginText } from "../plugin/fixtures.ts"

/** In the body of `setup`, `say(text)` is there. */
type WitnessText = Omit<PluginText, "top">

/** The source of a plugin. It says "up" when it is set up and "down" when it is disposed. */
export function witness({ name, version = "1.0.0", type = "monitoring", ...text }: WitnessText): string {
  return `import { definePlugin, GatewayError, Type } from "leapgate/plugin"
export default definePlugin({
  name: "${name}", version: "${version}", type: "${type}", ${text.more ?? ""}
  async setup({ config, log, signal, onDispose, state }) {
    const say = (what) => log.info("witness: ${name} " + what)
    ${text.setup ?? ""}
    onDispose(() => say("down"))
    say("up")
    return { ${text.abilities ?? ""} }
  },
})
`
}

/** What plugins said so far, in order: `name what`. */
export function said(logs: string): readonly string[] {
  return [...logs.matchAll(/"message":"witness: ([^"]*)"/g)].map(([, what = ""]) => what)
}

export function countOf(logs: string, what: string): number {
  return said(logs).filter((line) => line === what).length
}
